"""Draw the parts of a body as an axial chest CT slice shows them, in the coordinates of scene.py.

Everything is told in three dimensions, so that two slices of one patient fit together: ribs slope around the cage, vessels are a
tree in space that the slice cuts, organs begin and end at levels. Every part has its own stream of chance: what one part draws
changes no other.
"""

import numpy as np

from embeddings.phantoms.scene import (
    AIR,
    CORTEX,
    FAT,
    KEY,
    LUNG,
    MARROW,
    MUSCLE,
    WATER,
    Floats,
    Part,
    Points,
    Scene,
    blob,
    cage,
    cage_at,
    rounded,
    within_cage,
)

_ROUND = np.linspace(0, 2 * np.pi, 160, endpoint=False)


def draw_body(scene: Scene) -> None:
    """All parts, from the table to the marks of bone."""
    for draw in (_table, _arms, _chest_wall, _lungs, _vessels, _mediastinum, _abdomen, _great_vessels, _heart, _airways):
        draw(scene)
    for draw in (_spine, _ribs, _breastbone, _shoulder_blades, _collarbones):
        draw(scene)


def _table(scene: Scene) -> None:
    """The couch: a flat or a hollow one of one or two shells, a thin sheet or tube now and then."""
    rng, patient = scene.streams.series(Part.TABLE), scene.patient
    back = patient.full[1] + patient.muscle + patient.fat + rng.uniform(0.2, 1.6)
    x = np.linspace(-1, 1, 40)
    half, sag, shells = rng.uniform(16, 26), rng.choice([0.0, rng.uniform(1, 6)]), int(rng.choice([0, 1, 2, 2, 2]))
    for depth in (0.0, rng.uniform(1.5, 5))[:shells]:
        shell = np.stack([x * half, back + depth - sag * x**2 * (1 - depth / 12)], 1)
        scene.picture.line(shell, rng.uniform(0.12, 0.5), rng.uniform(-800, -100))
    if rng.random() < 0.25:  # padding between patient and couch
        pad = np.stack([x * 14, back - 0.3 - sag * (x * 14 / half) ** 2], 1)
        scene.picture.fill(np.vstack([pad, pad[::-1] + np.array([0, 1.3])]), rng.uniform(-980, -900))
    if rng.random() < 0.3:
        frame = rounded([(-9, back + 4), (9, back + 4), (8, back + 6), (-8, back + 6)])
        scene.picture.line(frame, 0.2, rng.uniform(-600, 100), closed=True)
    if rng.random() < 0.3:  # a blanket
        cover = -patient.full[1] - patient.muscle - patient.fat - rng.uniform(0.5, 3)
        wave = rng.normal(0, 0.4, 40).cumsum() * 0.3
        scene.picture.line(np.stack([x * 13, cover + wave + 5 * x**2], 1), 0.08, rng.uniform(-850, -600))
    if rng.random() < 0.08:  # a lead or tube upon the chest
        spot = np.array([rng.uniform(-6, 6), -patient.full[1] - patient.muscle - patient.fat - 0.4])
        scene.picture.line(spot + rng.normal(0, 1.2, (4, 2)).cumsum(axis=0) * [1, 0.2], 0.2, rng.uniform(0, 1000))


def _arms(scene: Scene) -> None:
    """Arms at the sides, of those who cannot lift them."""
    rng, patient = scene.streams.series(Part.ARMS), scene.patient
    if rng.random() > 0.09:
        return
    for side in (-1, 1):
        radius = rng.uniform(3.6, 5) + 0.5 * patient.fat
        beside = patient.body[0] + patient.fat + radius * rng.uniform(0.75, 1.1) + 2 * max(0.0, patient.level - 0.3)
        centre = (side * beside, rng.uniform(-1, 3) - 2 * (patient.level - 0.5))
        scene.picture.fill(blob(centre, (radius, radius * 1.1), rng), FAT)
        scene.picture.fill(blob(centre, (radius * 0.8, radius * 0.85), rng, 0.1), MUSCLE)
        scene.picture.fill(blob(centre, (1.2, 1.2), rng), CORTEX + 100)
        scene.picture.fill(blob(centre, (0.6, 0.6), rng), -20)


def _chest_wall(scene: Scene) -> None:
    """Skin, fat, muscle with planes of fat between its layers, and the cage's lining."""
    rng, patient, picture = scene.streams.patient(Part.WALL), scene.patient, scene.picture
    side, front, behind = np.cos(_ROUND), np.clip(-np.sin(_ROUND), 0, 1), np.clip(np.sin(_ROUND), 0, 1)
    waves = np.arange(2, 7)
    bumps = (rng.normal(0, 0.3, 5) / waves) @ np.cos(waves[:, None] * _ROUND + rng.uniform(0, 2 * np.pi, 5)[:, None])
    n = 2 / (patient.squareness + rng.uniform(0, 0.35))
    lobe_x, lobe_y = np.sign(side) * np.abs(side) ** n, np.sign(np.sin(_ROUND)) * np.abs(np.sin(_ROUND)) ** n

    def outline(outward: float, swell: Floats, breasts: float = 0.0) -> Points:
        x, y = (patient.body[0] + outward + swell) * lobe_x, (patient.body[1] + outward + swell) * lobe_y
        cleft = np.exp(-((x / 2.0) ** 2)) * (0.6 * front - 0.7 * behind)
        breast = breasts * np.exp(-(((np.abs(x) - 0.55 * patient.full[0]) / (0.38 * patient.full[0])) ** 2)) * np.sqrt(front)
        return np.stack([x, y + cleft - breast], 1)

    chest = float(np.interp(patient.level, [0.1, 0.25, 0.6, 0.8], [0.3, 1, 1, 0.2]))
    pectoral = chest * rng.uniform(0.2, 1.2) * np.exp(-(((np.abs(side) - 0.6) / 0.25) ** 2)) * front
    strap = rng.uniform(0.4, 1.2) * np.exp(-(((np.abs(side) - 0.3) / 0.25) ** 2)) * behind
    blades = float(np.interp(patient.level, [0.5, 0.85], [1, 0]))
    strap += blades * rng.uniform(0.6, 1.8) * np.exp(-(((np.abs(side) - 0.8) / 0.2) ** 2)) * behind
    body = outline(patient.fat, bumps, patient.breasts)
    picture.fill(body, rng.uniform(0, 60))
    picture.fill(body * (1 - 0.22 / patient.full[0]), FAT + rng.uniform(-10, 15))
    _glands(scene, rng)
    swell = 0.7 * bumps + pectoral + strap
    swell = np.minimum(swell, bumps + patient.fat - 0.2)  # no muscle outside the skin
    picture.fill(outline(0, swell), MUSCLE)
    depth = patient.body[0] - patient.cage[0]
    for share in (0.3, 0.65):
        plane = outline(-depth * share, (1 - share) * swell)
        for start, length, width in zip(rng.integers(0, 160, 5), rng.integers(8, 26, 5), rng.uniform(0.1, 0.4, 5), strict=True):
            picture.line(np.roll(plane, -start, axis=0)[:length], width, FAT + 25)
    picture.line(cage(patient, 0.3), 0.35, -40, closed=True)


def _glands(scene: Scene, rng: np.random.Generator) -> None:
    """Strands in the breasts."""
    patient = scene.patient
    spots, sides, sizes = rng.normal(0, 0.09, (14, 2)), rng.choice([-0.55, 0.55], 14), rng.uniform(0, 1, (14, 3))
    if patient.breasts < 1:
        return
    for (x, y), side, (wide, deep, angle) in zip(spots, sides, sizes, strict=True):
        centre = ((x + side) * patient.full[0], -0.9 * patient.body[1] - patient.fat + patient.breasts * (3 * y - 0.1))
        shape = blob(centre, (0.2 + 0.8 * wide, 0.1 + 0.2 * deep), rng, 0.25, 3 * angle)
        scene.picture.fill(shape, -20)


def _lungs(scene: Scene) -> None:
    """Both lungs, with fissures that move with the level."""
    rng, patient = scene.streams.patient(Part.LUNGS), scene.patient
    inner = cage(patient, -0.1)
    for side in (-1, 1):
        half = inner[inner[:, 0] * side > 0.15]
        # in the order of the outline: the half of the image's right wraps around the first point
        half = half[np.argsort(np.arctan2(half[:, 1], half[:, 0] * side))]
        scene.lungs.fill(half, 2000)
        scene.picture.fill(half, LUNG)
        x = np.linspace(0, 0.97 * patient.cage[0] - 3, 16)
        drawn, rest, lean, bow, tone = rng.random(5)
        y = (1.0 - 1.7 * patient.level + 0.5 * rest) * patient.cage[1] + (0.5 * lean - 0.3) * x + (0.06 * bow - 0.03) * x**2
        if drawn < 0.7:
            scene.vessels.line(np.stack([side * (x + 3), y], 1), 0.05, LUNG + 50 + 150 * tone)


_TRUNKS = 15  # of each lung


def _tree(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The vessels of both lungs from their hila: segments (n, 2, 3) in cm, z downwards, and radii (n,)."""
    number = np.arange(2 * _TRUNKS)
    side, turn = np.where(number % 2, 1.0, -1.0), number * 2.4  # the golden angle spreads the trunks evenly
    outward = (number + 0.5) / len(number)
    around = np.sqrt(1 - outward**2)
    heading: Floats = np.stack([side * outward, around * np.sin(turn), around * np.cos(turn)], 1)
    heading = heading + rng.normal(0, 0.2, heading.shape)
    heading, start = heading.astype(np.float32), rng.normal(0, 0.5, heading.shape).astype(np.float32)
    radius, length = rng.uniform([[0.13], [1.3]], [[0.33], [3.2]], (2, len(number))).astype(np.float32)
    ends: list[Floats] = []
    radii: list[Floats] = []
    for generation in range(8):
        heading /= np.sqrt(np.einsum("ij,ij->i", heading, heading))[:, None]
        end = start + heading * length[:, None]
        ends.append(np.stack([start, end], 1))
        radii.append(radius)
        swerve = rng.standard_normal((len(end), 3), np.float32) * np.float32(0.48 if generation < 3 else 0.3)
        share = rng.random((2, len(end)), np.float32) * np.float32(0.32) + np.float32(0.6)
        heading = np.concatenate([heading + 0.6 * swerve, heading - 1.5 * swerve])
        start, radius, length = np.concatenate([end, end]), (radius * share).ravel(), length * (share[::-1] + np.float32(0.16))
        length = np.maximum(length.ravel(), np.float32(0.6))
        alive = radius > 0.02
        start, heading, radius, length = start[alive], heading[alive], radius[alive], length[alive]
    return np.concatenate(ends), np.concatenate(radii)


def _vessels(scene: Scene) -> None:
    """What the slice cuts of the tree, and bronchi beside its larger branches."""
    rng, patient, layer = scene.streams.patient(Part.VESSELS), scene.patient, scene.vessels
    hilum = rng.uniform(0.26, 0.36), rng.uniform(-0.05, 0.25), rng.uniform(0.5, 0.58) * patient.height
    thickness, dense, rings = rng.uniform(0.75, 1.25), rng.uniform(0.1, 0.16), rng.random(6)
    ends, radii = _tree(rng)
    z = (ends[:, :, 2] * (patient.height / 19) + (hilum[2] - patient.depth - patient.vessel_shift)).T
    reach = patient.slab / 2 + 0.08 + radii
    seen = (np.minimum(z[0], z[1]) < reach) & (np.maximum(z[0], z[1]) > -reach)
    ends, radii, z, reach = ends[seen], radii[seen], z[:, seen], reach[seen]
    steep = np.where(np.abs(z[1] - z[0]) < 1e-3, 1e-3, z[1] - z[0])
    cuts = np.sort(np.clip(np.stack([(-reach - z[0]) / steep, (reach - z[0]) / steep]), 0, 1), axis=0).T
    flat = ends[:, :1, :2] + cuts[:, :, None] * (ends[:, 1:, :2] - ends[:, :1, :2])
    side = np.sign(ends[:, 0, 0] + ends[:, 1, 0])
    flat = flat * [0.105 * patient.cage[0], 0.115 * patient.cage[1]]
    flat += np.stack([side * hilum[0] * patient.cage[0], np.full(len(side), hilum[1] * patient.cage[1])], 1)[:, None]
    blood = MUSCLE + 0.8 * patient.contrast
    density = LUNG + (blood - LUNG) * np.minimum(1, radii / dense) ** 0.6
    order = np.argsort(density, kind="stable")
    layer.segments(flat[order], 1.85 * thickness * radii[order], density[order])
    wide = np.flatnonzero((radii > 0.1) & (np.abs(steep) > 0.6))
    for n, share in zip(wide, rings, strict=False):
        ring = blob((float(flat[n, 0, 0]) + 2 * radii[n] + 0.1, float(flat[n, 0, 1])), (radii[n] + 0.08,) * 2, rng)
        layer.line(ring, 0.07 + 0.08 * share, -350, closed=True)
    inside = layer.pixels & scene.lungs.pixels  # lung is 255
    np.maximum(scene.picture.pixels, inside, out=scene.picture.pixels)


def _mediastinum(scene: Scene) -> None:
    """The tissue between the lungs."""
    rng, patient = scene.streams.patient(Part.MEDIASTINUM), scene.patient
    half_depth = patient.cage[1]
    front, back = -half_depth + 0.6, half_depth - patient.gutter
    wide = rng.uniform(1.8, 3.4) * np.interp(patient.level, [0, 0.1, 0.4, 0.6, 1], [1.1, 1.15, 1.1, 1.25, 0.9])
    waist = rng.uniform(0.3, 1.6) + float(np.interp(patient.level, [0, 0.15], [2, 0]))
    right, left = wide * rng.uniform(0.7, 1.25, 2), wide * rng.uniform(0.8, 1.4, 2)
    edge = rng.uniform(1.5, 4.5)  # fat or thymus behind the breastbone
    corners = [(-edge, front - 1), (-waist, front + 1.8), (-right[0], -0.25 * half_depth), (-right[1], 0.25 * half_depth)]
    corners += [(-2.1, back), (-2.1, back + 1.5), (2.2, back + 1.5), (2.2, back)]
    corners += [(left[1], 0.2 * half_depth), (left[0], -0.25 * half_depth), (waist, front + 1.8), (edge, front - 1)]
    scene.solid(rounded(corners), rng.choice([FAT + 25, MUSCLE - 60, MUSCLE - 15]))
    scene.solid(blob((rng.normal(0.3, 0.2), back - 0.7), (0.65, 0.45), rng), MUSCLE - 15)  # oesophagus
    if rng.random() < 0.3:  # air in it
        scene.solid(blob((0.3, back - 0.7), (0.2, 0.15), rng), AIR)
    for x, y in rng.normal(0, 1, (6, 2)) * [1.6, 0.3 * half_depth]:  # lymph nodes
        scene.picture.fill(blob((x, y), (rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.4)), rng), MUSCLE)


def _abdomen(scene: Scene) -> None:
    """What rises into the lungs at the base: liver on one side, stomach and spleen on the other."""
    rng, patient = scene.streams.patient(Part.ABDOMEN), scene.patient
    tops, spans, bulge = rng.normal(0.86, 0.04), rng.uniform(0.18, 0.3, 2), rng.uniform(-0.15, 0.1, 2)
    lower = rng.uniform(0.0, 0.08)
    for side, top, span, aside in ((-1, tops, spans[0], bulge[0]), (1, tops + lower, spans[1], bulge[1])):
        grown = float(np.sqrt(np.clip((patient.level - top) / span, 0, 1)))
        tone, shape_rng = rng.normal(0, 12), rng.spawn(1)[0]
        if grown < 0.05:
            continue
        centre = (side * 0.5 * patient.cage[0], (aside * (1 - grown) - 0.05) * patient.cage[1])
        radii = (0.52 * grown * patient.cage[0], 0.9 * grown * patient.cage[1])
        outline = blob(centre, radii, shape_rng, 0.06)
        inside = within_cage(outline, patient, float(np.interp(grown, [0, 1], [0.1, 0.35])))
        if side < 0:
            scene.solid(inside, MUSCLE + 12 + tone + 0.3 * patient.contrast)
            for spot in shape_rng.uniform(-0.5, 0.5, (5, 2)) * radii + centre:  # vessels of the liver
                path = np.stack([spot, spot + shape_rng.normal(0, 1.2, 2)])
                scene.picture.line(path, 0.35 * grown, MUSCLE + tone + 0.5 * patient.contrast)
            continue
        scene.solid(inside, FAT + 5)
        stomach = blob((centre[0], centre[1] - 0.35 * radii[1]), (0.55 * radii[0], 0.45 * radii[1]), shape_rng, 0.1)
        scene.picture.fill(stomach, MUSCLE)
        filled = stomach * 0.9 + stomach.mean(axis=0) * 0.1
        scene.picture.fill(filled, shape_rng.choice([30.0, 10.0, 60.0]))
        surface = stomach.mean(axis=0)[1] + shape_rng.uniform(-1.5, 1.5)
        scene.picture.fill(np.minimum(filled, [np.inf, surface]), AIR + 20)  # gas lies in front
        behind = (centre[0] + 0.45 * radii[0], centre[1] + 0.45 * radii[1])
        spleen = blob(behind, (0.42 * radii[0], 0.42 * radii[1]), shape_rng, 0.08)
        scene.picture.fill(within_cage(spleen, patient, 0.5), MUSCLE + tone + 0.4 * patient.contrast)


# first and last level, place at both (x in cm, y in half depths), radii in cm, share of the contrast agent
_GREAT_VESSELS = np.array(
    [
        (-0.2, 0.37, 1.9, 0.10, 1.4, -0.05, 0.50, 0.55, 1.0),  # left subclavian artery
        (-0.2, 0.37, 1.3, -0.10, 0.7, -0.10, 0.40, 0.45, 1.0),  # left carotid artery
        (-0.2, 0.37, -1.4, -0.10, -0.3, -0.18, 0.60, 0.65, 1.0),  # brachiocephalic artery
        (-0.2, 0.33, -2.8, -0.25, -2.2, -0.22, 0.75, 0.80, 1.4),  # right brachiocephalic vein
        (-0.2, 0.33, 2.6, -0.30, 0.6, -0.36, 0.85, 0.55, 1.4),  # left brachiocephalic vein
        (0.33, 0.45, 0.2, -0.12, 0.9, 0.02, 1.35, 3.20, 1.0),  # arch of the aorta
        (0.33, 0.66, -2.2, -0.22, -2.5, -0.18, 0.85, 1.00, 1.4),  # superior vena cava
        (0.42, 0.68, -0.8, -0.28, -0.4, -0.30, 1.60, 1.65, 1.0),  # ascending aorta
        (0.41, 1.30, 2.0, 0.30, 1.2, 0.45, 1.25, 1.25, 1.0),  # descending aorta
        (0.48, 0.63, 2.1, -0.22, 1.8, -0.34, 1.50, 1.70, 1.2),  # pulmonary trunk
        (0.50, 0.60, -1.6, -0.02, -2.6, 0.02, 2.20, 0.85, 1.2),  # right pulmonary artery
        (0.46, 0.60, 2.8, 0.00, 3.6, 0.10, 1.30, 0.85, 1.2),  # left pulmonary artery
        (0.55, 0.70, -3.4, 0.08, -4.0, 0.18, 0.90, 0.80, 1.2),  # lower arteries of both lungs
        (0.55, 0.70, 3.6, 0.12, 4.2, 0.20, 0.85, 0.80, 1.2),
        (0.60, 0.76, 0.2, 0.05, 0.4, 0.15, 2.80, 1.50, 1.0),  # left atrium
        (0.92, 1.30, -2.2, 0.05, -2.6, 0.10, 1.20, 1.05, 0.6),  # inferior vena cava
        (0.30, 1.30, -0.5, 0.47, -0.4, 0.50, 0.35, 0.35, 0.7),  # azygos vein
    ]
)


def _great_vessels(scene: Scene) -> None:
    """Arteries, veins and the left atrium, each between its two levels."""
    rng, patient = scene.streams.patient(Part.GREAT_VESSELS), scene.patient
    moved = rng.normal(0, 1, (len(_GREAT_VESSELS), 5))
    calcified = rng.random() < 0.3
    first, last = _GREAT_VESSELS[:, 0] + 0.012 * moved[:, 0], _GREAT_VESSELS[:, 1] + 0.012 * moved[:, 1]
    along = (patient.level - first) / (last - first)
    taper = np.sqrt(np.clip(8 * np.minimum(along, 1 - along), 0, 1))
    for n in np.flatnonzero(taper > 0.2):
        x = np.interp(along[n], [0, 1], _GREAT_VESSELS[n, [2, 4]]) + 0.22 * moved[n, 2]
        y = np.interp(along[n], [0, 1], _GREAT_VESSELS[n, [3, 5]]) * patient.cage[1] + 0.25 * moved[n, 3]
        radii = _GREAT_VESSELS[n, 6:8] * taper[n] * np.exp(0.12 * moved[n, 4]) * patient.full[0] / 13
        shape_rng = np.random.default_rng([KEY, int(n), scene.streams.seed])
        shape = blob((x, y), (radii[0], radii[1]), shape_rng, 0.05, 0.25 * moved[n, 0])
        scene.solid(shape, MUSCLE - 8 + min(patient.contrast * _GREAT_VESSELS[n, 8], 420))
        if calcified and n in (5, 7, 8):
            start = int(shape_rng.integers(0, 36))
            scene.picture.line(shape[start : start + 5], 0.15, CORTEX - 100)


def _heart(scene: Scene) -> None:
    """The heart with its fat and, where there is contrast, its chambers."""
    rng, patient = scene.streams.patient(Part.HEART), scene.patient
    half_width, half_depth = patient.full
    profile = np.interp(patient.level, [0.58, 0.63, 0.75, 0.9, 1.0, 1.08], [0, 0.66, 1, 1, 0.75, 0])
    grown = float(profile) * patient.heart
    centre = (rng.uniform(0.6, 2.4) + 1.2 * (patient.level - 0.7), -0.26 * half_depth + rng.normal(0, 0.4))
    radii, angle = (0.46 * half_width * grown, 0.48 * half_depth * grown), rng.uniform(0.2, 0.8)
    fatty, fluid = rng.random() < 0.5, rng.random() < 0.06
    if grown < 0.15:
        return
    shape = within_cage(blob(centre, radii, rng, 0.08, angle), patient, 0.3)
    if fatty or fluid:
        around = (shape - centre) * (1.16 if fluid else 1.07) + centre
        scene.solid(within_cage(around, patient, 0.2), WATER if fluid else FAT + 15)
    scene.solid(shape, MUSCLE - 5)
    for x, y in ((0.4, 0.25), (0.35, -0.35), (-0.45, -0.25), (-0.35, 0.35)):  # chambers
        place = (centre[0] + x * radii[0] - 0.2 * y * radii[1], centre[1] + y * radii[1] + 0.4 * x * radii[1])
        size = (radii[0] * rng.uniform(0.28, 0.4), radii[1] * rng.uniform(0.28, 0.4))
        chamber, emptier = blob(place, size, rng, 0.08, angle), rng.uniform(0, 0.5)
        scene.picture.fill(chamber, MUSCLE - 10 + (1 - emptier) * patient.contrast)
    if rng.random() < 0.2:  # calcified coronary arteries, leads, valves
        spot = np.array(centre) + rng.uniform(-0.5, 0.5, 2) * radii
        scene.picture.line(np.stack([spot, spot + rng.normal(0, 0.7, 2)]), 0.2, rng.uniform(400, 1400))


def _airways(scene: Scene) -> None:
    """The trachea, which parts into the main bronchi, and these go on as smaller ones."""
    rng, patient = scene.streams.patient(Part.AIRWAYS), scene.patient
    carina, radius, x, y = rng.uniform(0.47, 0.52), rng.uniform(0.7, 1.05), rng.normal(-0.2, 0.3), rng.uniform(0.5, 1.4)
    depth = y + 2.2 * max(0.0, patient.level - 0.3)
    apart = float(np.interp(patient.level - carina, [0, 0.02, 0.15, 0.4], [0, 0.8, 3.3, 4.6]))
    size = float(np.interp(patient.level - carina, [0, 0.02, 0.15, 0.22, 0.35], [1, 0.8, 0.5, 0.3, 0.2])) * radius
    flatness, angle = rng.uniform(0.8, 1.2), rng.normal(0, 0.3)
    for side in (-1, 1) if apart else (1,):
        if patient.level > 0.93:
            break
        centre = (x + side * apart, depth + 0.25 * apart)
        scene.solid(blob(centre, (size + 0.15, size * flatness + 0.15), rng, 0.02, angle), MUSCLE - 10)
        scene.solid(blob(centre, (size, size * flatness), rng, 0.03, angle), AIR + 10)
    if rng.random() < 0.04 and patient.level < 0.45:  # a breathing tube
        scene.picture.line(blob((x, depth), (0.45, 0.45), rng, 0.0), 0.12, 300, closed=True)


def _spine(scene: Scene) -> None:
    """A vertebra with its canal, arch and processes, or the disc between two, and the muscles that lie on it."""
    rng, patient, picture = scene.streams.patient(Part.SPINE), scene.patient, scene.picture
    y = patient.cage[1] - patient.gutter + 1.5 + rng.uniform(0, 0.4)
    grown = np.interp(patient.level, [0, 0.5, 1], [0.8, 0.9, 1.1])
    width, depth = rng.uniform(1.6, 2.1) * grown, rng.uniform(1.25, 1.6) * grown
    spacing, start, tone, dense = rng.uniform(2.0, 2.6), rng.random(), rng.uniform(-110, 60), rng.uniform(-250, 50)
    phase = (patient.depth / spacing + start) % 1  # 0 to 0.75 the bone, then the disc
    arch, disc = y + depth + 0.9, phase > 0.75
    scene.solid(blob((0, y + 0.8), (width + 0.9, depth + 1.6), rng, 0.03), MUSCLE - 5)
    span = float(np.interp(phase, [0, 0.15, 0.45, 0.6, 1], [0.3, 1, 1, 0.3, 0.3]))
    for side in (-1, 1):  # transverse processes, and the heads of a pair of ribs
        tip = np.array([side * (1.2 + span * rng.uniform(1.3, 1.9)), arch + rng.uniform(-0.1, 0.7)])
        process = np.stack([[side * 0.9, arch - 0.4], tip])
        head = np.array([[1.7, 0.5], [3.0, 1.4], [4.1, 1.6]]) * [side, 1] + [0, y]
        if span > 0.4:
            picture.line(process, 0.75, CORTEX + dense)
            picture.line(process, 0.35, MARROW)
        if phase < 0.3 or phase > 0.85:
            picture.line(head, 0.75, CORTEX + dense)
            picture.line(head, 0.3, MARROW)
    body, spots = blob((0, y), (width, depth), rng, 0.05), rng.normal(0, 0.35, (6, 2, 2)) * [width, depth] + [0, y]
    picture.fill(body, 90 if disc else CORTEX + dense)
    if not disc:
        picture.fill((body - [0, y]) * 0.86 + [0, y], MARROW + tone)
        spongy = MARROW + tone + np.resize([-80.0, 80.0], 6)
        picture.segments(spots[:, :1] + 0.3 * (spots - spots[:, :1]), np.full(6, 0.15), spongy)
    tip_y = arch + rng.uniform(1.2, 2.0) * (0.7 + 0.3 * np.cos(2 * np.pi * phase))
    corners = [(-1.2, arch - 0.7), (1.2, arch - 0.7), (0.5, arch + 0.7), (0.25, tip_y), (-0.25, tip_y), (-0.5, arch + 0.7)]
    picture.fill(rounded(corners), CORTEX + dense)
    picture.fill(blob((0, arch + 0.35), (0.3, 0.3), rng), MARROW)
    picture.fill(blob((0, y + depth + 0.5), (1.0, 0.8), rng, 0.03), 15)
    picture.fill(blob((0, y + depth + 0.5), (0.5, 0.45), rng, 0.03), 40)


def _ribs(scene: Scene) -> None:
    """Ribs slope down from the back to the front: the slice cuts each where it passes the level, the lower ones further back."""
    rng, patient = scene.streams.patient(Part.RIBS), scene.patient
    spacing, drop, wander = rng.uniform(1.9, 2.5), rng.uniform(8, 12), rng.normal(0, 0.25, (2, 14))
    tall, thick = rng.uniform(1.0, 1.6), rng.uniform(0.45, 0.75)
    tones, leans, apart = rng.uniform(-250, 150, (2, 14)), rng.uniform(0.1, 0.9, (2, 14)), rng.uniform(0.3, 0.8)
    for side in (0, 1):
        begins = spacing * np.arange(14) - 3.0 + wander[side]  # cm below the apex, at the spine
        middles = (patient.depth - begins) / drop  # 0 at the spine, 1 at the breastbone
        for n in np.flatnonzero((middles > 0.08) & (middles < 1.0)):
            half = 0.5 * tall / drop * (1 if middles[n] > 0.2 else 1.4)
            around = np.linspace(max(middles[n] - half, 0.1), min(middles[n] + half, 1), 9)
            t = np.pi / 2 - np.pi * around if not side else np.pi / 2 + np.pi * around
            lean = np.linspace(0, leans[side, n], 9)[:, None]
            path = cage_at(patient, t, 0.45) * (1 - lean) + cage_at(patient, t, 0.45 + apart) * lean
            if middles[n] > 0.82:  # cartilage
                scene.picture.line(path, 1.2 * thick, 60 + 0.4 * (tones[side, n] + 250))
                continue
            scene.picture.line(path, thick, CORTEX + tones[side, n])
            scene.picture.line(path[1:-1], 0.5 * thick, MARROW + 0.6 * tones[side, n])


def _breastbone(scene: Scene) -> None:
    """The handle of the breastbone above, its narrower body below, cartilages beside it."""
    rng, patient = scene.streams.patient(Part.RIBS), scene.patient
    rise, wide, tone, reach, end = rng.random(5)
    y = -patient.cage[1] - 0.2 + 0.6 * rise
    width = (1.4 + wide) * np.interp(patient.level, [0.1, 0.2, 0.34, 0.4, 0.8, 0.97], [1.1, 1.6, 1.5, 1, 1.1, 0.4])
    if 0.12 < patient.level < 0.97:
        bone = rounded([(-width, y - 0.55), (width, y - 0.55), (width * 0.95, y + 0.55), (-width * 0.95, y + 0.55)])
        scene.picture.fill(bone, CORTEX - 250)
        scene.picture.fill((bone - [0, y]) * [0.9, 0.72] + [0, y], MARROW - 150 + 100 * tone)
    if patient.level > 0.2:
        for side in (-1, 1):
            path = np.array([[side * (width + 0.3), y], [side * (width + 1.3 + 1.5 * reach), y + 0.2 + 0.6 * end]])
            scene.picture.line(path, 0.8, 80 + 150 * tone)


def _shoulder_blades(scene: Scene) -> None:
    """Thin curved plates behind the ribs, at the upper levels only."""
    rng, patient = scene.streams.patient(Part.SHOULDERS), scene.patient
    for side in (-1, 1):
        start, span, jitter, reach, bow, width, ridge = rng.random(7)
        length = (0.45 + 0.4 * span) * float(np.interp(patient.level, [0, 0.3, 0.68, 0.74], [1.1, 1, 0.3, 0]))
        if length < 0.12:
            continue
        angle = np.linspace(0.3, 0.3 + length, 14) + 0.1 * (start - 0.5)
        out = 1.0 + patient.muscle * (0.75 + 0.25 * reach)
        wide, deep = patient.full[0] * 0.95 + out, patient.cage[1] + out + 0.4
        plate = np.stack([side * np.cos(angle) * wide, np.sin(angle) * deep], 1)
        plate[:, 1] += (0.6 * bow - 0.3) * np.sin(np.linspace(0, np.pi, 14))
        scene.picture.line(plate, 0.35 + 0.25 * width, CORTEX - 100)
        scene.picture.line(plate[2:-4], 0.2, MARROW)
        spine = float(np.interp(patient.level, [0.1, 0.35], [1.2, 0]))  # of the shoulder blade
        if spine > 0.1:
            foot = plate[3 + int(6 * jitter)]
            scene.picture.line(np.stack([foot, foot * (1 + 0.1 * spine * (0.5 + ridge))]), 0.45, CORTEX - 150)


def _collarbones(scene: Scene) -> None:
    """Collarbones in front and the heads of the upper arms at the sides, near the apex."""
    rng, patient = scene.streams.patient(Part.SHOULDERS), scene.patient
    rise, lean, size, lifted = rng.random(4)
    inner = float(np.interp(patient.level, [-0.05, 0.04, 0.16], [6, 3.5, 1.8]))
    if patient.level < 0.17:
        for side in (-1, 1):
            length, y = 3 + 4 * lean, -patient.cage[1] + rise
            path = np.array([[side * inner, y], [side * (inner + length), y + 0.35 * length]])
            scene.picture.line(path, 1.1, CORTEX - 50)
            scene.picture.line(path, 0.5, MARROW)
    if lifted < 0.5 and patient.level < 0.1:
        radius = (1.6 + size) * min(1.0, 12 * (0.1 - patient.level))
        for side in (-1, 1):
            centre = (side * (patient.body[0] - 1.5), 0.3 * patient.cage[1])
            scene.picture.fill(blob(centre, (radius, radius), rng), CORTEX - 200)
            scene.picture.fill(blob(centre, (0.85 * radius, 0.85 * radius), rng), MARROW)

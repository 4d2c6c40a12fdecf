"""Losses against plain loops, batches that repeat, a trainer that stops and goes on."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from embeddings.pipeline import one_thread_each
from embeddings.training.trainer import Pictures, Recipe, Trainer, _Dealer, copy_loss, spreading_loss
from tests.helpers.making import noise

RECIPE = Recipe(steps=4, batch=8, sizes=((0.5, 16), (1.0, 24)))
PICTURES = Pictures(np.stack([noise(seed, (32, 32)) for seed in range(24)]), np.repeat(np.arange(8), 3))  # families of three


# Recipe


def test_pictures_grow_in_phases() -> None:
    assert [Recipe(10, sizes=((0.6, 80), (1.0, 112))).size(step) for step in (0, 5, 6, 9)] == [80, 80, 112, 112]


def test_the_rate_rises_and_falls_along_a_cosine() -> None:
    recipe = Recipe(100, rate=0.5)
    rates = [recipe.rate_at(step) for step in range(100)]
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert rates[5] == pytest.approx(0.5)
    assert rates[52] == pytest.approx(0.25 * (1 + math.cos(math.pi * 47 / 95)))
    assert rates[99] < 0.001


# Losses


def units(seed: int, n: int, d: int = 5) -> NDArray[np.float64]:
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def mixture(n: int) -> NDArray[np.float64]:
    """Shares in which some copies have two or three sources, some of them in common."""
    shares = np.eye(n)
    shares[0, :2] = 0.7, 0.3
    shares[2, :4] = 0.2, 0, 0.5, 0.3
    return shares


def plain_loss(s: NDArray[np.float64], c: NDArray[np.float64], shares: NDArray[np.float64], temperature: float) -> float:
    """The definition, one row after the other."""
    n, losses = len(s), []
    for i in range(n):  # copy i among all sources and the copies without a source in common
        others = [k for k in range(n) if k != i and not any(shares[i, j] > 0 and shares[k, j] > 0 for j in range(n))]
        total = sum(math.exp(c[i] @ s[j] / temperature) for j in range(n))
        total += sum(math.exp(c[i] @ c[k] / temperature) for k in others)
        losses.append(-sum(shares[i, j] * math.log(math.exp(c[i] @ s[j] / temperature) / total) for j in range(n)))
    for j in range(n):  # source j among all copies and the other sources
        total = sum(math.exp(s[j] @ c[i] / temperature) for i in range(n))
        total += sum(math.exp(s[j] @ s[k] / temperature) for k in range(n) if k != j)
        weights = shares[:, j] / shares[:, j].sum()
        losses.append(-sum(weights[i] * math.log(math.exp(s[j] @ c[i] / temperature) / total) for i in range(n)))
    return float(np.mean(losses))


@pytest.mark.parametrize("shares", [np.eye(6), mixture(6)], ids=["one source each", "mixed"])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_the_loss_is_its_definition(shares: NDArray[np.float64], temperature: float) -> None:
    sources, copies = units(0, 6), units(1, 6)
    got = copy_loss(torch.from_numpy(sources), torch.from_numpy(copies), torch.from_numpy(shares), temperature)
    assert float(got) == pytest.approx(plain_loss(sources, copies, shares, temperature), rel=1e-6)


def test_the_loss_is_least_where_copies_lie_on_their_sources() -> None:
    sources = torch.eye(6)
    right = copy_loss(sources, sources, torch.eye(6), 0.07)
    wrong = copy_loss(sources, sources.roll(1, 0), torch.eye(6), 0.07)
    assert float(right) < 0.01 < 5 < float(wrong)


def at(*degrees: float) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_spreading_is_the_mean_log_distance_to_the_nearest() -> None:
    # at 0 and 60 degrees the nearest is at distance 1, at 180 it is at 2 sin 60
    assert float(spreading_loss(at(0, 60, 180))) == pytest.approx(-math.log(math.sqrt(3)) / 3, abs=2e-4)
    assert float(spreading_loss(at(0, 10, 20))) > float(spreading_loss(at(0, 120, 240)))


def test_spreading_can_be_learned_from_equal_vectors() -> None:
    vectors = torch.ones(3, 2, requires_grad=True)
    spreading_loss(vectors).backward()
    assert vectors.grad is not None
    assert bool(torch.isfinite(vectors.grad).all())


# Batches


def dealer(recipe: Recipe = RECIPE, pictures: Pictures = PICTURES) -> _Dealer:
    return _Dealer(pictures, recipe, map)


def test_a_batch_is_the_same_whatever_came_before() -> None:
    going = dealer()
    made = [going.batch(step) for step in range(3)]
    again = dealer().batch(2)
    for name in ("sources", "copies", "shares"):
        assert np.array_equal(getattr(made[2], name), getattr(again, name))
        assert not np.array_equal(getattr(made[1], name), getattr(again, name))
    other = dealer(Recipe(steps=4, batch=8, sizes=RECIPE.sizes, seed=1)).batch(2)
    assert not np.array_equal(other.copies, again.copies)


def test_pictures_have_the_size_of_their_phase_and_are_standardised() -> None:
    for step, side in ((0, 16), (3, 24)):
        batch = dealer().batch(step)
        for pictures in (batch.sources, batch.copies):
            assert (pictures.shape, pictures.dtype) == ((8, 1, side, side), np.dtype(np.float32))
            assert np.abs(pictures.mean(axis=(1, 2, 3))).max() < 1e-4
            assert np.allclose(pictures.std(axis=(1, 2, 3)), 1, atol=1e-2)


def test_shares_add_up_and_a_copy_has_its_own_source() -> None:
    shares = np.concatenate([dealer().batch(step).shares for step in range(4)])
    assert np.allclose(shares.sum(axis=1), 1)
    assert all(shares[i, i % 8] > 0 for i in range(len(shares)))
    assert set((shares > 0).sum(axis=1)) == {1, 2, 3}


def test_at_most_two_of_a_family_meet_and_none_meets_itself() -> None:
    families: Counter[int] = Counter()
    for seed in range(200):
        rows = dealer()._rows(np.random.default_rng(seed))
        assert len(set(rows.tolist())) == len(rows) == 8
        of = Counter(PICTURES.families[rows].tolist())
        assert max(of.values()) <= 2
        families.update(of.values())
    assert families[2] > 0
    assert families[1] > 0


def test_members_are_found_in_any_order() -> None:
    members = Pictures(PICTURES.pixels[:5], np.array([7, 2, 7, 2, 0])).members()
    assert sorted(row.tolist() for row in members) == [[0, 2], [1, 3], [4]]


# Trainer


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with one_thread_each():
        yield
    torch.set_num_threads(threads)


def small(seed: int) -> nn.Module:
    """A network with all that a state has: normalisation, weights, biases."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Conv2d(1, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(24, 7))


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [*trainer.module.state_dict().values(), *trainer.averaged.state_dict().values()]


@pytest.mark.usefixtures("one_thread")
def test_stopped_and_restored_it_becomes_the_same_network(tmp_path: Path) -> None:
    whole, first, second = (Trainer(small(seed), PICTURES, RECIPE) for seed in (0, 0, 1))
    whole.run(4)
    first.run(2)
    first.save(tmp_path / "state.pt")
    assert not all(torch.equal(a, b) for a, b in zip(weights(first), weights(whole), strict=True))
    second.restore(tmp_path / "state.pt")
    assert second.step == 2
    second.run(4)
    assert all(torch.equal(a, b) for a, b in zip(weights(second), weights(whole), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.usefixtures("one_thread")
def test_every_step_is_reported_and_the_last_is_the_end() -> None:
    trainer, seen = Trainer(small(0), PICTURES, RECIPE), []
    trainer.run(3, lambda step, loss: seen.append((step, math.isfinite(loss))))
    trainer.run(3)
    assert seen == [(1, True), (2, True), (3, True)]


def test_a_state_of_another_recipe_is_refused(tmp_path: Path) -> None:
    Trainer(small(0), PICTURES, RECIPE).save(tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"state.pt: the state of a training with other settings"):
        Trainer(small(0), PICTURES, Recipe(steps=5, batch=8, sizes=RECIPE.sizes)).restore(tmp_path / "state.pt")


@pytest.mark.usefixtures("one_thread")
def test_training_lowers_the_loss() -> None:
    losses: list[float] = []
    Trainer(small(0), PICTURES, Recipe(40, 8, ((1.0, 16),), rate=1e-2)).run(40, lambda _, loss: losses.append(loss))
    assert np.mean(losses[-10:]) < np.mean(losses[:10])

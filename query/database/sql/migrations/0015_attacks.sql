-- Attacks in the words of regulators (query/leakage/attacks.py), of a run that knows used and unused patients.
CREATE TABLE attacks (
    run_id INTEGER NOT NULL,
    attack VARCHAR NOT NULL CHECK (attack IN ('singling_out', 'linkability')),
    rate VARCHAR CHECK (rate IN ('main', 'control', 'baseline', 'risk')),  -- NULL: the attack could not be made
    patients BIGINT,  -- targets of either kind
    value DOUBLE,  -- share of targets; of 'risk' (main - control) / (1 - control)
    low DOUBLE,  -- 95% interval
    high DOUBLE,
    reason VARCHAR  -- why it could not be made; NULL where it was
);

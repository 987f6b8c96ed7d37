"""Golden values of training updates: clipping, Adam or momentum, decoupled decay, schedules.

One step t, counted from 0, on parameters theta with given gradients g:

    g     <- g * c / |g|   only where the global norm |g| >= c
    u     <- adam(g) or momentum(g)
    u     <- lr * u + lr * decay * multiplier * theta
    theta <- theta - schedule(t) * u

Written from the formulas in numpy f64 and compared with optax for everything that optax has.
"""

import math
import re

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import optax

from golden_file import versions, write_json, write_tensors

SEED = 20150722
STEPS = 5
SHAPES = {"encoder/0/mlp/in/kernel": (3, 5), "norm/scale": (5,), "head/kernel": (5, 2)}
# Norms below, far above and exactly at the clipping threshold.
GRADIENT_NORMS = (3.0, 0.4, 1.0, 25.0, 0.05)
ADAM = {"b1": 0.9, "b2": 0.999, "epsilon": 1e-8}
MOMENTUM = 0.9
RUNS = {
    "adam_plain": {"optimizer": "adam", "schedule": "constant"},
    "adam_cosine": {"optimizer": "adam", "schedule": "cosine", "clip": 1.0, "decay": 0.1},
    "adam_linear": {"optimizer": "adam", "schedule": "linear", "clip": 1.0, "decay": 0.1},
    "momentum_plain": {"optimizer": "momentum", "schedule": "constant"},
    "momentum_cosine": {"optimizer": "momentum", "schedule": "cosine", "clip": 1.0, "decay": 0.1},
    "momentum_linear": {"optimizer": "momentum", "schedule": "linear", "clip": 1.0, "decay": 0.1},
}
LEARNING_RATE = {"adam": 0.01, "momentum": 0.03}
# The first pattern that matches decides; a parameter that matches none does not decay.
DECAY_MULTIPLIERS = [("head/kernel$", 10.0), ("/kernel$", 1.0)]
WARMUP, TOTAL = 2, 5
SCHEDULE_TABLES = [
    {"schedule": kind, "warmup": warmup, "total": total}
    for kind in ("cosine", "linear")
    for warmup, total in ((3, 10), (0, 7), (1, 4))
]


def schedule(kind: str, step: int, warmup: int, total: int) -> float:
    """Scale of the learning rate at a 0-based step; past the last step it keeps its end value."""
    if kind == "constant":
        return 1.0
    ramp = min(1.0, step / warmup) if warmup > 0 else 1.0
    progress = min(1.0, max(0.0, (step - warmup) / (total - warmup)))
    return ramp * (0.5 * (1 + math.cos(math.pi * progress)) if kind == "cosine" else 1 - progress)


def optax_schedule(kind: str, warmup: int, total: int):
    if kind == "constant":
        return optax.constant_schedule(1.0)
    rest = total - warmup
    falling = (
        optax.cosine_decay_schedule(1.0, rest)
        if kind == "cosine"
        else optax.linear_schedule(1.0, 0.0, rest)
    )
    return optax.join_schedules(
        [optax.linear_schedule(0.0, 1.0, max(warmup, 1)), falling], [warmup]
    )


def multiplier(name: str) -> float:
    return next((value for pattern, value in DECAY_MULTIPLIERS if re.search(pattern, name)), 0.0)


def global_norm(tree: dict[str, np.ndarray]) -> float:
    return math.sqrt(sum(float((value**2).sum()) for value in tree.values()))


def clip(gradients, threshold):
    norm = global_norm(gradients)
    if threshold is None or norm < threshold:
        return gradients
    return {name: g * threshold / norm for name, g in gradients.items()}


def adam(state, gradients, step):
    b1, b2, epsilon = ADAM["b1"], ADAM["b2"], ADAM["epsilon"]
    updates = {}
    for name, g in gradients.items():
        mu = state["mu"][name] = b1 * state["mu"][name] + (1 - b1) * g
        nu = state["nu"][name] = b2 * state["nu"][name] + (1 - b2) * g**2
        unbiased_mu, unbiased_nu = mu / (1 - b1 ** (step + 1)), nu / (1 - b2 ** (step + 1))
        updates[name] = unbiased_mu / (np.sqrt(unbiased_nu) + epsilon)
    return updates


def momentum(state, gradients, _step):
    state["trace"] = {name: g + MOMENTUM * state["trace"][name] for name, g in gradients.items()}
    return state["trace"]


def optax_chain(run):
    """The same run as a chain of optax transformations."""
    lr, decay = LEARNING_RATE[run["optimizer"]], run.get("decay", 0.0)
    scale_at = optax_schedule(run["schedule"], WARMUP, TOTAL)

    def decayed(updates, state, params):
        add = {name: lr * decay * multiplier(name) * value for name, value in params.items()}
        return {name: updates[name] + add[name] for name in updates}, state

    return optax.chain(
        optax.clip_by_global_norm(run["clip"]) if "clip" in run else optax.identity(),
        optax.scale_by_adam(b1=ADAM["b1"], b2=ADAM["b2"], eps=ADAM["epsilon"])
        if run["optimizer"] == "adam"
        else optax.trace(decay=MOMENTUM),
        optax.scale(lr),
        optax.GradientTransformation(lambda params: optax.EmptyState(), decayed),
        # optax's linear schedule falls to f32 for its own int32 step, hence the cast.
        optax.scale_by_schedule(lambda step: -scale_at(step.astype(jnp.float64))),
    )


def run_steps(name, run, initial, gradients, tensors) -> None:
    update = {"adam": adam, "momentum": momentum}[run["optimizer"]]
    zeros = {key: np.zeros_like(value) for key, value in initial.items()}
    slots = ("mu", "nu") if run["optimizer"] == "adam" else ("trace",)
    state = {slot: dict(zeros) for slot in slots}
    parameters, lr = dict(initial), LEARNING_RATE[run["optimizer"]]
    chain = optax_chain(run)
    theirs = {key: jnp.asarray(value) for key, value in initial.items()}
    their_state = chain.init(theirs)
    for step in range(STEPS):
        updates = update(state, clip(gradients[step], run.get("clip")), step)
        scale = schedule(run["schedule"], step, WARMUP, TOTAL)
        for key, theta in parameters.items():
            full = lr * updates[key] + lr * run.get("decay", 0.0) * multiplier(key) * theta
            parameters[key] = theta - scale * full
        change, their_state = chain.update(gradients[step], their_state, theirs)
        theirs = optax.apply_updates(theirs, change)
        for key, value in parameters.items():
            np.testing.assert_allclose(value, theirs[key], rtol=1e-13, atol=1e-15)
            tensors[f"runs/{name}/{step}/parameters/{key}"] = value
            for slot in slots:
                tensors[f"runs/{name}/{step}/{slot}/{key}"] = state[slot][key]


def main() -> None:
    rng = np.random.default_rng(SEED)
    tensors = {}
    initial, gradients = {}, []
    for name, shape in SHAPES.items():
        value = rng.standard_normal(shape).astype(np.float32)
        tensors[f"initial/{name}"] = value
        initial[name] = value.astype(np.float64)
    for step, norm in enumerate(GRADIENT_NORMS):
        drawn = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
        if norm == 1.0:
            # Sixteen entries of a quarter: the norm is one exactly, also in f32.
            drawn = {name: np.zeros(shape) for name, shape in SHAPES.items()}
            drawn["encoder/0/mlp/in/kernel"].flat[:9] = 0.25
            drawn["norm/scale"][:3] = -0.25
            drawn["head/kernel"].flat[:4] = 0.25
        factor = norm / global_norm(drawn)
        rounded = {name: (g * factor).astype(np.float32) for name, g in drawn.items()}
        tensors |= {f"gradients/{step}/{name}": g for name, g in rounded.items()}
        gradients.append({name: g.astype(np.float64) for name, g in rounded.items()})
    tensors["gradient_norms"] = np.array([global_norm(g) for g in gradients])
    for name, run in RUNS.items():
        run_steps(name, run, initial, gradients, tensors)
    write_tensors("optimizer.safetensors", tensors)
    write_json("optimizer.json", description())


def description() -> dict:
    tables = []
    for table in SCHEDULE_TABLES:
        kind, warmup, total = table["schedule"], table["warmup"], table["total"]
        values = [schedule(kind, step, warmup, total) for step in range(total + 3)]
        theirs = optax_schedule(kind, warmup, total)
        np.testing.assert_allclose(values, [float(theirs(s)) for s in range(total + 3)], atol=1e-15)
        tables.append(table | {"values": values})
    return {
        "steps": STEPS,
        "parameters": {name: list(shape) for name, shape in SHAPES.items()},
        "adam": ADAM,
        "momentum": MOMENTUM,
        "runs": {
            name: {
                "optimizer": run["optimizer"],
                "learningRate": LEARNING_RATE[run["optimizer"]],
                "clipNorm": run.get("clip"),
                "weightDecay": run.get("decay", 0.0),
                "schedule": run["schedule"],
            }
            | ({} if run["schedule"] == "constant" else {"warmup": WARMUP, "total": TOTAL})
            | {"scales": [schedule(run["schedule"], step, WARMUP, TOTAL) for step in range(STEPS)]}
            for name, run in RUNS.items()
        },
        "decayMultipliers": [[pattern, value] for pattern, value in DECAY_MULTIPLIERS],
        "scheduleTables": tables,
        "seed": SEED,
        "versions": versions(),
    }


if __name__ == "__main__":
    main()

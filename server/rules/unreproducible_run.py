"""GW501: what would be needed to repeat this run was not recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._say import say
from server.rules.base import Rule, Stage

CHOSEN = 2**32  # seeds that people set are smaller: NumPy takes no larger ones
REMEDIES = {
    "no git commit": "commit before a run that counts",
    "uncommitted changes": "commit before a run that counts",
    "no seed was set": "call torch.manual_seed(0) before the model is built",
    "no config": "hand over what it was started with: watch(…, config=vars(args))",
}


class UnreproducibleRun(Rule):
    """The run has no complete record of what made it

    ## What it does
    Looks at what the hook found at `watch`: a git commit, a clean working tree, a seed of PyTorch that was set, a
    config. What is missing is listed, as an info. A seed that nobody sets is a number of 64 bits from the system; those
    that people choose fit into 32.

    ## Why it matters
    A result that cannot be repeated cannot be compared, and a bug in it cannot be found.

    ## What you see in the chart
    Nothing; the details of the run show what is known.

    ## What to try
    - `git commit` before a run that counts.
    - `torch.manual_seed(…)`, and `watch(…, config=vars(args))`.

    ## Example
    ```python
    monitor = watch(model, optimizer)                       # no config
    monitor = watch(model, optimizer, config=vars(args))    # right
    ```

    ## References
    - Pineau et al. 2021, *Improving Reproducibility in Machine Learning Research*.
    - Exact test.
    """

    code = "GW501"
    name = "unreproducible-run"
    severity = Severity.INFO
    since = "0.2.0"
    version = 3
    chart = "loss"
    tier = "facts"
    clears_after = 1
    stage = Stage.SYMPTOM
    aside = True

    def check(self, window: Window, params: Rule.Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the facts `environment` and `config`."""
        del params  # it has no thresholds
        facts = window.fact("environment")
        if facts.get("git") is None and not facts.get("packages"):  # both come a moment later, together
            yield NotEvaluated("the environment is still being read")
            return
        git = facts.get("git")
        missing = []
        if not isinstance(git, Mapping) or not git.get("commit"):
            missing.append("no git commit")
        elif git.get("dirty"):
            missing.append("uncommitted changes")
        if _drawn_by_the_system((facts.get("seeds") or {}).get("torch")):
            missing.append("no seed was set")
        if not window.fact("config"):
            missing.append("no config")
        if missing:
            yield say(
                Severity.INFO,
                f"This run cannot be repeated exactly: {', '.join(missing)}",
                _advice(missing),
                strings={"missing": ", ".join(missing)},
            )


def _advice(missing: list[str]) -> str:
    """Says what each of them needs."""
    steps = list(dict.fromkeys(REMEDIES[item] for item in missing))
    said = f"{'; '.join(steps)}."
    return said[0].upper() + said[1:]


def _drawn_by_the_system(seed: object) -> bool:
    return isinstance(seed, int) and not isinstance(seed, bool) and abs(seed) >= CHOSEN

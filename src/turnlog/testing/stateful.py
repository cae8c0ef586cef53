"""A Hypothesis state machine over all verbs of a full store, against the model. Needs hypothesis: pip install hypothesis."""

from __future__ import annotations

from typing import Any

from turnlog.testing.registry import Level
from turnlog.testing.steps import VERBS, Pair, Step
from turnlog.testing.subject import Factory, Subject
from turnlog.testing.trial import Trial


def state_machine(factory: Factory, *, level: Level = "quick") -> Any:
    """A ``RuleBasedStateMachine`` class for stores of ``factory``; ``state_machine(factory).TestCase`` is a unittest case.

    The factory is what ``verify_store`` takes, for a sync store or an async one. Raises ImportError where hypothesis is missing.
    """
    try:
        from hypothesis import strategies
        from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
    except ImportError as error:
        raise ImportError("turnlog.testing.stateful needs hypothesis: pip install hypothesis") from error

    from turnlog.testing.faces import declared_async

    # Hypothesis likes small numbers; few sessions let its steps meet.
    sessions, numbers = strategies.integers(0, 2), strategies.integers(0, 60)

    def rule_for(verb: str) -> Any:
        def do(self: Any, session: int, number: int) -> None:
            self.pair.do(Step(verb, session, number))

        do.__name__ = verb
        return rule(session=sessions, number=numbers)(do)

    def begin(self: Any) -> None:
        RuleBasedStateMachine.__init__(self)
        subject = Subject(factory, five=False)
        self.trial = Trial(subject, level=level, seed="hypothesis")
        subject.asynchronous = any(declared_async(self.trial.raw))
        self.pair = Pair(self.trial.store, self.trial.open_again if subject.takes_place else None)

    def agree(self: Any) -> None:
        self.pair.check_all()

    def end(self: Any) -> None:
        self.trial.close()

    rules = {verb: rule_for(verb) for verb in VERBS}
    methods = {"__init__": begin, "agree": invariant()(agree), "teardown": end, "__module__": __name__}
    return type("SessionStoreMachine", (RuleBasedStateMachine,), {**rules, **methods})

"""The journals of records, against the machines that have written them (AUD)."""

from itertools import pairwise

from states.lifecycle import LifecycleMachine, Record, transitions


def is_complete(machine: type[LifecycleMachine], record: Record) -> bool:
    """Return whether every entry is a transition from the state before, the last to this state."""
    journal, known = record.journal, transitions(machine)
    return (
        bool(journal)
        and journal[0].from_state is None
        and journal[-1].to_state == record.state
        and all(
            one.to_state == next_.from_state
            and known.get((one.to_state, next_.event)) == next_.to_state
            for one, next_ in pairwise(journal)
        )
    )

"""The text of actions, sequences and replay ids: it reads back, and anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.supply import Torn
from hil_tests.actions import (
    CUTS_MAX,
    END,
    STEPS_MAX,
    VERBS,
    Action,
    ActionError,
    Cut,
    Number,
    ReplayId,
    parse_action,
    parse_steps,
    spell_steps,
)
from hil_tests.properties import PROPERTIES
from hil_tests.runs import Target


@st.composite
def actions(draw: st.DrawFn) -> Action:
    verb = draw(st.sampled_from(sorted(VERBS)))
    arguments: list[str | int] = [
        draw(st.integers(kind.first, kind.last))
        if isinstance(kind, Number)
        else draw(st.sampled_from(kind.words))
        for kind in VERBS[verb].arguments
    ]
    cuts = st.builds(Cut, st.integers(1, 999_999), st.none() | st.sampled_from(Torn))
    return Action(verb, tuple(arguments), tuple(draw(st.lists(cuts, max_size=CUTS_MAX))))


@given(st.lists(actions(), min_size=1, max_size=20))
def test_sequence_reads_back_as_it_was(sequence: list[Action]) -> None:
    assert parse_steps(spell_steps(sequence)) == tuple(sequence)


@given(st.lists(actions(), min_size=1, max_size=5))
def test_replay_id_of_a_target_with_defects_and_a_file_reads_back(sequence: list[Action]) -> None:
    wanted = ReplayId("limit-holds", "model:native+./my_part.py:MyCounter", tuple(sequence))

    assert ReplayId.parse(str(wanted)) == wanted


@given(st.text(max_size=200))
def test_any_text_is_a_sequence_or_a_refusal(text: str) -> None:
    for parse in (parse_steps, ReplayId.parse):
        try:
            parsed = parse(text)
        except ActionError as refused:
            assert str(refused)
        else:
            assert parsed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fly", "no verb 'fly'"),
        ("unlock-user", "takes role, PIN, got 1 arguments"),
        ("unlock-guest-0", "role 'guest' is not one of user, admin"),
        ("unlock-user-99", "PIN '99' is not a number"),
        ("lock@0", "cuts are counted from 1"),
        ("lock@x", "cuts are counted from 1"),
        ("lock@1@0", "cuts are counted from 1"),
        ("lock@1.", "'' is not what a cut leaves: half, weak"),
        ("lock@1.torn", "'torn' is not what a cut leaves"),
        ("lock" + "@1" * 9, "9 cuts, and 8 are the most"),
    ],
)
def test_refusal_says_what_was_wrong(text: str, said: str) -> None:
    with pytest.raises(ActionError, match=said.replace("(", r"\(")):
        parse_action(text)


def test_sequence_without_end_is_refused() -> None:
    with pytest.raises(ActionError, match="at most"):
        parse_steps(",".join(["lock"] * (STEPS_MAX + 1)))


@pytest.mark.parametrize("profile", ["native", "keypad", "plain"])
def test_every_scenario_of_every_property_reads(profile: str) -> None:
    facts = Target(f"model:{profile}").facts

    for each in PROPERTIES:
        sequences = each.sequences(facts)
        assert sequences
        for text in sequences:
            assert spell_steps(parse_steps(text)) == text


def test_cut_names_its_step_and_what_it_leaves() -> None:
    action = parse_action("set_pin-user-1@5.half@2.weak@1")

    assert action.cuts == (Cut(5, Torn.HALF), Cut(2, Torn.WEAK), Cut(1))


def test_supply_that_fails_when_the_action_was_answered_is_spelled() -> None:
    action = parse_action("unlock-user-3@end@2")

    assert action.cuts == (END, Cut(2)) and action.ends_dark
    assert str(action) == "unlock-user-3@end@2"
    with pytest.raises(ActionError, match="end stands behind the action alone"):
        parse_action("unlock-user-3@2@end")


def test_sequence_uses_only_characters_that_no_shell_touches() -> None:
    spelled = spell_steps([Action("unlock", ("user", 0), (Cut(5, Torn.HALF), Cut(2)))])

    assert set(spelled) <= set("abcdefghijklmnopqrstuvwxyz_0123456789-@.,:+")

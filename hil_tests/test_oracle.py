"""The oracle: what any drive must do, and what a power cut leaves open."""

from pathlib import Path

from hil_tests import oracle as module
from hil_tests.oracle import Oracle, World

LIMITS = {"user": 3, "admin": 3, "recovery": 3}
PIN, OTHER, DURESS = "840295713602", "517394826049", "296048371503"


def after(*acts: tuple[object, ...], at_limit: str = "erase") -> Oracle:
    """Return an oracle that was told of successful acts, one after the other."""
    oracle = Oracle(LIMITS, at_limit)
    for verb, *args in acts:
        oracle.act(str(verb), *args)
        oracle.narrow(lambda success, world: success is not False)
        if verb == "set_pin":  # a drive may open or stay locked; this one stays locked
            oracle.narrow(lambda success, world: world.state == "locked" or world.role == "user")
            oracle.narrow(lambda success, world: world.role is None or len(world.pins) > 1)
    return oracle


def worlds(oracle: Oracle) -> list[World]:
    return [world for _, world in oracle.branches]


def states(oracle: Oracle) -> set[str]:
    return {world.state for world in worlds(oracle)}


def test_oracle_is_short_enough_to_be_believed() -> None:
    lines = Path(module.__file__).read_text("utf-8").splitlines()

    assert sum(bool(line.strip()) for line in lines) <= 100


def test_wrong_pin_costs_one_try_and_an_impossible_one_none() -> None:
    oracle = after(("set_pin", "user", PIN))
    oracle.act("unlock", "user", None)
    assert [world.tries["user"] for world in worlds(oracle)] == [3]

    oracle.act("unlock", "user", OTHER)

    assert [world.tries["user"] for world in worlds(oracle)] == [2]


def test_success_gives_back_the_tries_of_its_own_role_only() -> None:
    oracle = after(("set_pin", "user", PIN), ("unlock", "user", PIN), ("set_pin", "admin", OTHER))
    oracle.act("unlock", "admin", PIN)
    oracle.act("unlock", "user", PIN)

    assert [(w.tries["user"], w.tries["admin"]) for w in worlds(oracle)] == [(3, 2)]


def test_limit_erases() -> None:
    oracle = after(("set_pin", "user", PIN))
    for _ in range(3):
        oracle.act("unlock", "user", OTHER)

    assert states(oracle) == {"erased"}


def test_limit_of_the_user_blocks_while_an_admin_could_help() -> None:
    oracle = after(
        ("set_pin", "user", PIN),
        ("unlock", "user", PIN),
        ("set_pin", "admin", OTHER),
        at_limit="block",
    )
    for _ in range(3):
        oracle.act("unlock", "user", DURESS)

    assert states(oracle) == {"blocked"}


def test_cut_attempt_leaves_the_try_spent_or_untouched_and_the_drive_closed() -> None:
    oracle = after(("set_pin", "user", PIN))
    oracle.act("unlock", "user", PIN, was_cut=True)

    assert {world.tries["user"] for world in worlds(oracle)} == {2, 3}
    assert states(oracle) == {"locked"}


def test_cut_change_leaves_one_pin_or_the_other() -> None:
    oracle = after(("set_pin", "user", PIN), ("unlock", "user", PIN))
    oracle.act("set_pin", "user", OTHER, was_cut=True)

    assert {world.pins["user"] for world in worlds(oracle)} == {PIN, OTHER}


def test_cut_write_leaves_old_or_new_in_each_block() -> None:
    oracle = after(("set_pin", "user", PIN), ("unlock", "user", PIN), ("write", True, 0, 1, 2))
    oracle.act("write", False, 0, 7, was_cut=True)

    assert {world.data[0] for world in worlds(oracle)} == {(1,), (1, 7)}
    assert {world.data[1] for world in worlds(oracle)} == {(2,)}


def test_cut_write_to_a_block_never_written_leaves_it_unknown() -> None:
    oracle = after(("set_pin", "user", PIN), ("unlock", "user", PIN), ("write", True, 0, 1))
    oracle.act("write", False, 0, 7, 8, was_cut=True)

    assert {1 in world.data for world in worlds(oracle)} == {False}


def test_duress_pin_erases_and_is_answered_as_wrong() -> None:
    oracle = after(("set_pin", "user", PIN), ("unlock", "user", PIN))
    oracle.act("own", (), {"pins": {"duress": DURESS}})
    oracle.act("unlock", "user", DURESS)

    assert [success for success, _ in oracle.branches] == [False]
    assert states(oracle) == {"erased"}


def test_new_pin_is_not_refused_for_being_another_roles_which_would_tell_of_it() -> None:
    oracle = after(("set_pin", "user", PIN), ("unlock", "user", PIN))
    oracle.act("set_pin", "admin", PIN)

    assert {success for success, _ in oracle.branches} == {True}


def test_duress_pin_cannot_be_that_of_another_role() -> None:
    oracle = after(("set_pin", "user", PIN), ("unlock", "user", PIN))
    oracle.act("own", (), {"pins": {"duress": PIN}})
    assert [success for success, _ in oracle.branches] == [False]

    oracle.act("own", (), {"pins": {"duress": DURESS}})
    oracle.act("set_pin", "user", DURESS)

    assert {success for success, _ in oracle.branches} == {False}


def test_recovery_pin_opens_once() -> None:
    oracle = after(("set_pin", "user", PIN), ("unlock", "user", PIN))
    oracle.act("own", ("recovery",), {"recovery": ("r1", "r2")})
    oracle.act("recover", "recovery", "r1", OTHER)
    assert {success for success, _ in oracle.branches} == {True}

    oracle.act("recover", "recovery", "r1", PIN)

    assert {success for success, _ in oracle.branches} == {False}
    assert {world.tries["recovery"] for world in worlds(oracle)} == {2}


def test_what_fits_no_world_is_told_and_keeps_them_all() -> None:
    oracle = after(("set_pin", "user", PIN))

    assert not oracle.narrow(lambda success, world: world.state == "unlocked")
    assert states(oracle) == {"locked"}

"""Source code that asks before it decides and before it acts: a transformation of its syntax tree.

    if a and not b:              if verdict(2, verdict(0, a) and not verdict(1, b)):
        self.close()                 if step(3):
                                         self.close()

A verdict is every condition of if, while, ?:, comprehension, assert and case, every operand of and,
or and not, and every comparison. A step is every statement that is a call for its effect, stores,
deletes, raises, or goes elsewhere: return, break, continue. A return that is left out goes on with
the statement behind it; at the end of a function, what it returns is None.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Final, TypeVar

from hil_tests.glitch.glitch import Site

VERDICT: Final = "_glitch_verdict"
COMPARISON: Final = "_glitch_comparison"
STEP: Final = "_glitch_step"
KEPT: Final = "_glitch_kept"
SUBJECT: Final = "_glitch_subject"

_WithTest = ast.If | ast.While | ast.IfExp | ast.Assert
Node = TypeVar("Node", bound=ast.AST)
_Located = ast.expr | ast.stmt | ast.pattern


def instrumented(source: str, file: str, add: Callable[[Site], int]) -> ast.Module:
    """Return the tree of a module that asks; `add` takes in each place, and gives its index."""
    tree = _Instrument(source, file, add).visit(ast.parse(source, file))
    assert isinstance(tree, ast.Module)
    return ast.fix_missing_locations(tree)


class _Instrument(ast.NodeTransformer):
    """Each `visit_...` returns the node as it is to be."""

    def __init__(self, source: str, file: str, add: Callable[[Site], int]) -> None:
        self._lines = source.encode().split(b"\n")
        self._file = file
        self._add = add

    # --- verdicts -------------------------------------------------------------------------------

    def _verdict(self, node: ast.expr) -> ast.expr:
        """Return a condition as a verdict; the operands it is made of are verdicts too."""
        if isinstance(node, ast.Constant):
            return node
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ast.copy_location(ast.UnaryOp(ast.Not(), self._verdict(node.operand)), node)
        if isinstance(node, ast.BoolOp):
            operands = [self._verdict(value) for value in node.values]
            whole: ast.expr = ast.copy_location(ast.BoolOp(node.op, operands), node)
            return self._ask(VERDICT, node, whole)
        return self._truth(node)

    def _truth(self, node: ast.expr) -> ast.expr:
        """Return a condition as one verdict, which is about its own value."""
        inner = self._compared(node) if isinstance(node, ast.Compare) else self.visit(node)
        return self._ask(VERDICT, node, inner)

    def _compared(self, node: ast.Compare) -> ast.expr:
        others = [self.visit(each) for each in node.comparators]
        return ast.copy_location(ast.Compare(self.visit(node.left), node.ops, others), node)

    def _with_test(self, node: _WithTest) -> ast.AST:
        test, node.test = node.test, ast.Constant(True)
        self.generic_visit(node)
        node.test = self._verdict(test)
        return node

    visit_If = visit_While = visit_IfExp = visit_Assert = _with_test

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        ifs, node.ifs = node.ifs, []
        self.generic_visit(node)
        node.ifs = [self._verdict(test) for test in ifs]
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        return self._ask(COMPARISON, node, self._compared(node))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        if isinstance(node.op, ast.Not):
            return self._verdict(node)
        return self._inside(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        """Where it is a value, `a or b` is a, if a verdict on a says so, and else b."""
        *firsts, last = node.values
        result: ast.expr = self.visit(last)
        for first in reversed(firsts):
            kept = ast.Call(ast.Name(KEPT, ast.Load()), [], [])
            chosen = (kept, result) if isinstance(node.op, ast.Or) else (result, kept)
            result = ast.copy_location(ast.IfExp(self._truth(first), *chosen), node)
        return result

    def visit_Match(self, node: ast.Match) -> ast.AST | list[ast.stmt]:
        """Compare with one value after the other, where that is all that the patterns do."""
        tests = [_value_test(case.pattern) for case in node.cases]
        bodies = [self._body(case.body) for case in node.cases]
        subject = self.visit(node.subject)
        rest: list[ast.stmt] = []
        for case, test, body in zip(node.cases[::-1], tests[::-1], bodies[::-1], strict=True):
            if test is None:
                return self._match_of_shapes(node, subject, bodies)
            whole = ast.BoolOp(ast.And(), [test, case.guard]) if case.guard else test
            asked = self._verdict(ast.copy_location(whole, case.pattern))
            rest = [ast.copy_location(ast.If(asked, body, rest), node)]
        head = ast.Assign([ast.Name(SUBJECT, ast.Store())], subject)
        return [ast.copy_location(head, node), *rest]

    def _match_of_shapes(
        self, node: ast.Match, subject: ast.expr, bodies: list[list[ast.stmt]]
    ) -> ast.AST:
        """Ask once more whether the case that fits is the one to take."""
        node.subject = subject
        for case, body in zip(node.cases, bodies, strict=True):
            guard = ast.Constant(True) if case.guard is None else self.visit(case.guard)
            case.guard, case.body = self._ask(VERDICT, case.pattern, guard), body
        return node

    def _body(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        body: list[ast.stmt] = []
        for statement in statements:
            made = self.visit(statement)
            body += made if isinstance(made, list) else [made]
        return body

    # --- steps ----------------------------------------------------------------------------------

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return self._step(node) if isinstance(node.value, ast.Call) else self._inside(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        return self._step(node) if node.value is not None else self._inside(node)

    def _step(self, node: ast.stmt) -> ast.AST:
        asked = self._call(STEP, "step", node)
        return ast.copy_location(ast.If(asked, [self._inside(node)], []), node)

    visit_Assign = visit_AugAssign = visit_Delete = visit_Raise = _step
    visit_Return = visit_Break = visit_Continue = _step

    def _inside(self, node: Node) -> Node:
        """Return a node that asks no more than what is inside it."""
        self.generic_visit(node)
        return node

    # --- asking ---------------------------------------------------------------------------------

    def _ask(self, function: str, node: _Located, value: ast.expr) -> ast.expr:
        return self._call(function, "verdict", node, value)

    def _call(self, function: str, kind: str, node: _Located, *arguments: ast.expr) -> ast.expr:
        index = self._add(Site(self._file, node.lineno, kind, self._source(node)))
        called = ast.Name(function, ast.Load())
        return ast.copy_location(ast.Call(called, [ast.Constant(index), *arguments], []), node)

    def _source(self, node: _Located) -> str:
        """Return the first line of what a node was written as."""
        line, end = self._lines[node.lineno - 1], node.end_col_offset
        is_whole = node.end_lineno == node.lineno
        shown = line[node.col_offset : end if is_whole else None].decode().strip()
        return shown if is_whole else f"{shown} ..."


def _value_test(pattern: ast.pattern) -> ast.expr | None:
    """Return a pattern as a comparison with the subject; None where it does more than compare."""
    subject = ast.Name(SUBJECT, ast.Load())
    test: ast.expr
    match pattern:
        case ast.MatchValue(value):
            test = ast.Compare(subject, [ast.Eq()], [value])
        case ast.MatchSingleton(value):
            test = ast.Compare(subject, [ast.Is()], [ast.Constant(value)])
        case ast.MatchAs(None, None):
            test = ast.Constant(True)
        case ast.MatchOr(patterns):
            tests = [_value_test(each) for each in patterns]
            found = [each for each in tests if each is not None]
            if len(found) < len(tests):
                return None
            test = ast.BoolOp(ast.Or(), found)
        case _:
            return None
    return ast.copy_location(test, pattern)

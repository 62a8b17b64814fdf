"""Expressions that students type, read without eval."""

import ast

import sympy

OPERATORS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}
FUNCTIONS = {name: getattr(sympy, name) for name in ("sin", "cos", "tan", "exp", "log", "sqrt")}
CONSTANTS = {"pi": sympy.pi, "e": sympy.E}


class ExpressionError(ValueError):
    """The text is not an expression that we accept; its message is for the student."""


def read(text, variables=("x",)):
    """The sympy expression of text in the given variables; ^ means power."""
    text = text.strip()
    if not text:
        raise ExpressionError("There is no answer.")
    if len(text) > 500:
        raise ExpressionError("The expression is too long.")
    try:
        tree = ast.parse(text.replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        raise ExpressionError("This is not an expression. Write * for every product, as in 3*x^2.") from None
    names = {name: sympy.Symbol(name) for name in variables}
    value = _value(tree.body, {**CONSTANTS, **names})
    if value.has(sympy.zoo, sympy.nan, sympy.oo):
        raise ExpressionError("The expression divides by zero.")
    return value


def _value(node, names):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return sympy.nsimplify(str(node.value)) if isinstance(node.value, float) else sympy.Integer(node.value)
    if isinstance(node, ast.Name):
        if node.id in names:
            return names[node.id]
        raise ExpressionError(f'"{node.id}" is not a name that may appear here.')
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _value(node.operand, names)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left, right = _value(node.left, names), _value(node.right, names)
        if isinstance(node.op, ast.Pow) and not (right.is_Symbol or (right.is_number and abs(right) <= 20)):
            raise ExpressionError("The exponent is too large.")
        return OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
        if node.func.id in FUNCTIONS:
            return FUNCTIONS[node.func.id](_value(node.args[0], names))
        raise ExpressionError(f'"{node.func.id}" is not a function that may appear here; write * for every product.')
    raise ExpressionError("Only numbers, names, + - * / ^ and brackets may appear here.")


def show(expression):
    """The expression as a student would type it."""
    return str(expression).replace("**", "^")


def same(a, b):
    """Whether two expressions are equal everywhere."""
    return sympy.simplify(a - b) == 0

"""The null space of a reaction's element matrix, by sympy; one input a substance, with the old element signature."""

import random

import sympy

# substance -> atoms of each element
REACTIONS = [
    [("CH4", {"C": 1, "H": 4}), ("O2", {"O": 2}), None, ("CO2", {"C": 1, "O": 2}), ("H2O", {"H": 2, "O": 1})],
    [("Fe", {"Fe": 1}), ("O2", {"O": 2}), None, ("Fe2O3", {"Fe": 2, "O": 3})],
    [("N2", {"N": 2}), ("H2", {"H": 2}), None, ("NH3", {"N": 1, "H": 3})],
    [("C3H8", {"C": 3, "H": 8}), ("O2", {"O": 2}), None, ("CO2", {"C": 1, "O": 2}), ("H2O", {"H": 2, "O": 1})],
    [("Al", {"Al": 1}), ("CuO", {"Cu": 1, "O": 1}), None, ("Al2O3", {"Al": 2, "O": 3}), ("Cu", {"Cu": 1})],
]


def generate(data):
    reaction = random.choice(REACTIONS)
    arrow = reaction.index(None)
    substances = reaction[:arrow] + reaction[arrow + 1 :]
    signs = [1] * arrow + [-1] * (len(substances) - arrow)
    elements = sorted({element for _, atoms in substances for element in atoms})
    matrix = sympy.Matrix(
        [[sign * atoms.get(element, 0) for sign, (_, atoms) in zip(signs, substances)] for element in elements]
    )
    (solution,) = matrix.nullspace()
    solution = solution * sympy.ilcm(*[value.q for value in solution])
    names = [formula for formula, _ in substances]
    data["params"]["reaction"] = f"{' + '.join(names[:arrow])} → {' + '.join(names[arrow:])}"
    data["params"]["substances"] = [{"key": f"n{i}", "formula": name} for i, name in enumerate(names)]
    for i, value in enumerate(solution):
        data["correct_answers"][f"n{i}"] = int(value)

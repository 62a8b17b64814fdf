"""A map drawn as SVG text by file(), and Dijkstra's algorithm for the answer."""

import heapq
import random

PLACES = {"A": (40, 100), "B": (130, 40), "C": (130, 160), "D": (240, 40), "E": (240, 160), "F": (330, 100)}
PATHS = [("A", "B"), ("A", "C"), ("B", "C"), ("B", "D"), ("C", "E"), ("B", "E"), ("D", "E"), ("D", "F"), ("E", "F")]


def generate(data):
    paths = [[start, end, random.randint(2, 15)] for start, end in PATHS]
    data["params"]["paths"], data["params"]["goal"] = paths, "F"
    data["correct_answers"]["minutes"] = shortest(paths, "A", "F")


def shortest(paths, start, goal):
    near = {}
    for a, b, minutes in paths:
        near.setdefault(a, []).append((minutes, b))
        near.setdefault(b, []).append((minutes, a))
    queue, done = [(0, start)], set()
    while queue:
        length, place = heapq.heappop(queue)
        if place == goal:
            return length
        if place not in done:
            done.add(place)
            for minutes, other in near[place]:
                heapq.heappush(queue, (length + minutes, other))
    raise ValueError(f"there is no way from {start} to {goal}")


def file(data):
    if data["filename"] != "map.svg":
        return None
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 370 200" font-family="sans-serif">']
    for a, b, minutes in data["params"]["paths"]:
        (x0, y0), (x1, y1) = PLACES[a], PLACES[b]
        parts.append(f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="#789"/>')
        parts.append(f'<text x="{(x0 + x1) / 2:.0f}" y="{(y0 + y1) / 2 - 4:.0f}" font-size="13">{minutes}</text>')
    for name, (x, y) in PLACES.items():
        parts.append(f'<circle cx="{x}" cy="{y}" r="14" fill="#2662be"/>')
        parts.append(f'<text x="{x}" y="{y + 5}" fill="#fff" font-size="14" text-anchor="middle">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])

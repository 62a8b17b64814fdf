"""A warm interpreter without any isolation: forks, or calls, once for each line.

    fork|call|once {data}   ->   {data}

"once" is the cold start: one line, no warming."""

import json
import os
import random
import sys

def answer(line):
    data = json.loads(line)
    random.seed(data["variant_seed"])
    import numpy

    numpy.random.seed(data["variant_seed"])
    scope = {"__file__": sys.argv[1]}
    exec(code, scope)
    scope["generate"](data)
    return json.dumps(data)


code = compile(open(sys.argv[1]).read(), sys.argv[1], "exec")
warm = False
for line in sys.stdin:
    how, _, line = line.partition(" ")
    if how == "once":
        print(answer(line), flush=True)
        break
    if not warm:  # as a zygote is: libraries loaded and exercised
        import gc

        for seed in range(5):
            answer('{"params":{},"correct_answers":{},"variant_seed":%d}' % seed)
        gc.collect()
        gc.freeze()
        warm = True
    if how == "call":
        print(answer(line), flush=True)
        continue
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        os.write(w, answer(line).encode())
        os._exit(0)
    os.close(w)
    with open(r) as out:
        got = out.read()
    os.waitpid(pid, 0)
    print(got, flush=True)

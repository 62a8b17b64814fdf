NAMES = ["u", "v"]

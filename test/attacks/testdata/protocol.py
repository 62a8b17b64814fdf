def _frame(b):
    os.write(3, struct.pack("<I", len(b)) + b)

def lying_length():
    os.write(3, b"\xff\xff\xff\xff")
    os._exit(0)

def partial_frame():
    os.write(3, struct.pack("<I", 500) + b'{"outcome":')
    os._exit(0)

def empty_frame():
    _frame(b"")
    time.sleep(100)

def not_json():
    _frame(b"\x80\x04\x95pickle.")
    time.sleep(100)

def forged_timeout():
    _frame(b'{"outcome":"timeout","message":"the worker is broken"}')
    time.sleep(100)

def forged_missing():
    _frame(b'{"outcome":"missing","code":"course_missing"}')
    time.sleep(100)

def forged_outcome():
    _frame(b'{"outcome":"system_error"}')
    time.sleep(100)

def forged_usage():
    _frame(b'{"outcome":"ok","data":{},"wall":-5,"output":"forged","traceback":"x"}')
    time.sleep(100)

def nested_json():
    _frame(b'{"outcome":"ok","data":' + b"[" * 200000 + b"]" * 200000 + b"}")
    time.sleep(100)

def duplicate_keys():
    _frame(b'{"outcome":"timeout","outcome":"ok","outcome":"killed","data":{}}')
    time.sleep(100)

def two_answers():
    _frame(b'{"outcome":"ok","data":{"params":{"got":["done","first"]}}}')
    _frame(b'{"outcome":"ok","data":{"params":{"got":["done","second"]}}}')
    time.sleep(100)

def huge_number():
    _frame(b'{"outcome":"ok","data":{"params":{"got":["done",1' + b"0" * 5000 + b"]}}}")
    time.sleep(100)

def terminal_escapes():
    sys.stdout.write("\x1b]0;evil\x07\x1b[2J<script>alert(1)</script>\x00\r\n")
    return "printed"

def output_that_is_not_utf8():
    os.write(1, b"\xff\xfe\x80\n")
    return "printed"

def output_like_a_frame():
    os.write(1, struct.pack("<I", 2) + b"{}")
    return "printed"

def surrogates_in_result():
    return "\ud800"

def nan_in_result():
    return float("nan")

def read_the_channel():
    os.set_blocking(3, False)
    return os.read(3, 100).decode()

def fill_the_channel_without_reading():
    for _ in range(100):
        _frame(b" " * 60000)

from pipelines.core.escaping import visible


def test_what_a_terminal_obeys_or_turns_a_line_round_is_spelled_out():
    assert visible("a\x1b]0;x\x07\u202eb é 日本") == "a\\x1b]0;x\\x07\\u202eb é 日本"

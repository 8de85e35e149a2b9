"""A warning of a library is shown once, however often it is given."""

import warnings

from quantbench.cli import app


def test_each_warning_is_shown_once_in_a_session(monkeypatch, capsys):
    def command():
        for i in (1, 1, 2):
            for category in (FutureWarning, DeprecationWarning):
                with warnings.catch_warnings():
                    # As other contexts do, which forget what was shown before.
                    warnings.simplefilter("always")
                    warnings.warn(f"word {i}", category, stacklevel=1)

    monkeypatch.setattr(app, "app", command)
    # In the place of pytest's, which keeps all of them.
    monkeypatch.setattr(warnings, "showwarning", lambda message, category, *_: print(category.__name__, message))
    app.main()
    shown = capsys.readouterr().out.splitlines()
    assert shown == [f"{kind}Warning word {i}" for i in (1, 2) for kind in ("Future", "Deprecation")]


def test_a_warning_that_cannot_be_read_is_no_error():
    class Unreadable(UserWarning):
        def __str__(self):
            raise ValueError("no")

    shown = []
    app._once(lambda *each: shown.append(each))(Unreadable(), Unreadable, "a.py", 1)
    assert len(shown) == 1

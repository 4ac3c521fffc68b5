"""The words of the customer's pages: complete in each language, and in the language that is read."""

import string

import pytest

from engine.core.policy import DAY_US, HOUR_US, MINUTE_US, CalendarWindow, Channel, Lifetime, Rolling, Window
from engine.core.windows import Calendar
from engine.render.words import LANGUAGES, per, words_for


def test_each_language_has_every_word_with_the_same_gaps() -> None:
    english = LANGUAGES["en"]
    for code, words in LANGUAGES.items():
        assert words["language"] == code
        assert set(words) == set(english)
        for name, text in words.items():
            assert _gaps(text) == _gaps(english[name]), name
            assert text.strip() == text != ""
    assert {each.value for each in Channel} <= set(english)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-CH, fr;q=0.9", "de"),
        ("en, de", "en"),
        ("en;q=0.4, de;q=0.8", "de"),
        ("fr, es;q=0.9, de;q=0.1", "de"),
        ("de;q=0", "en"),
        ("de;q=nonsense", "en"),
        ("de;q=nan, en", "en"),
        ("*", "en"),
        (", ,;;=,", "en"),
        ("de" * 10_000, "en"),
        ("deutsch", "en"),
    ],
)
def test_the_language_is_the_best_liked_of_those_there_are(accepted: str, language: str) -> None:
    assert words_for(accepted)["language"] == language


@pytest.mark.parametrize(
    ("window", "english", "german"),
    [
        (Rolling(DAY_US), "a day", "am Tag"),
        (Rolling(7 * DAY_US, HOUR_US), "a week", "in der Woche"),
        (Rolling(30 * DAY_US), "in 30 days", "in 30 Tagen"),
        (Rolling(16 * HOUR_US), "in 16 hours", "in 16 Stunden"),
        (Rolling(90 * MINUTE_US), "in 90 minutes", "in 90 Minuten"),
        (CalendarWindow(Calendar.DAY), "a day", "am Tag"),
        (CalendarWindow(Calendar.WEEK), "a week", "in der Woche"),
        (CalendarWindow(Calendar.MONTH), "a month", "im Monat"),
        (Lifetime(), "ever", "überhaupt"),
    ],
)
def test_a_limit_says_in_what_time_it_counts(window: Window, english: str, german: str) -> None:
    assert (per(LANGUAGES["en"], window), per(LANGUAGES["de"], window)) == (english, german)


def _gaps(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text)} - {None}

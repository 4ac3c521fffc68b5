"""The words of the pages that customers see, in each language they are offered in. All of them stand here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from engine.core.policy import DAY_US, HOUR_US, MINUTE_US, CalendarWindow, Lifetime, Rolling, Window
from engine.core.windows import Calendar

Words = Mapping[str, str]

_EN: Final = {
    "language": "en",
    "title": "Your messages",
    "lead": "How often may we write to you? Choose here. It holds from the moment you save it.",
    "by": "{topic}, by {channel}",
    "own": "The message you came from",
    "unsubscribed": "Also unsubscribed",
    "channels": "All messages, by channel",
    "topics": "By topic",
    "usual": "as usual",
    "usual_at_most": "usual: at most {count} {per}",
    "at_most": "at most {count} {per}",
    "all": "as many as there are",
    "none": "none",
    "stopped": "none at present, for a reason other than your choice",
    "no_consent": "none at present: they need your consent, which is missing",
    "always": "These are sent whatever you choose, because they are about something you asked for or must know:",
    "save": "Save",
    "leave": "Leave everything",
    "leave_what": "No more messages, in no channel.",
    "leave_always": "What is listed above is still sent.",
    "leave_sure": "Yes, I want to leave everything",
    "leave_do": "Leave everything",
    "left": "You have left everything.",
    "return_do": "Get messages again",
    "return_needs": "Messages need your consent, which is missing.",
    "return_what": "What you had chosen before will hold again.",
    "saved": "Saved. It holds from now on.",
    "saved_partly": "Not everything could be saved. What you see here holds from now on.",
    "unchanged": "Nothing was changed.",
    "too_often": "You have changed this very often today. You can always choose none; anything else again tomorrow.",
    "unsubscribed_now": "You are unsubscribed. It holds from now on.",
    "gone": "This link is over",
    "gone_what": "It was made for a message that is long past. A newer message has a link that is good.",
    "unknown": "This link is not good",
    "unknown_what": "It may have been cut off on its way. Try the link in the message again, or a newer message's.",
    "later": "Not just now",
    "later_what": "We could not save that. Please try again in a minute.",
    "unread": "This was not understood",
    "unread_what": "Nothing was changed. Go back, and try it again.",
    "email": "e-mail",
    "push": "push message",
    "sms": "text message",
    "in_app": "message in the app",
    "phone": "phone",
    "letter": "letter",
    "per_day": "a day",
    "per_week": "a week",
    "per_month": "a month",
    "per_days": "in {count} days",
    "per_hours": "in {count} hours",
    "per_minutes": "in {count} minutes",
    "per_ever": "ever",
}
_DE: Final = {
    "language": "de",
    "title": "Ihre Nachrichten",
    "lead": "Wie oft dürfen wir Ihnen schreiben? Wählen Sie hier. Es gilt, sobald Sie es speichern.",
    "by": "{topic}, per {channel}",
    "own": "Die Nachricht, von der Sie kommen",
    "unsubscribed": "Ebenfalls abbestellt",
    "channels": "Alle Nachrichten, nach Kanal",
    "topics": "Nach Thema",
    "usual": "wie üblich",
    "usual_at_most": "üblich: höchstens {count} {per}",
    "at_most": "höchstens {count} {per}",
    "all": "so viele es gibt",
    "none": "keine",
    "stopped": "zurzeit keine, aus einem anderen Grund als Ihrer Wahl",
    "no_consent": "zurzeit keine: dazu fehlt Ihre Einwilligung",
    "always": "Diese kommen, was immer Sie wählen, denn sie betreffen, was Sie bestellt haben oder wissen müssen:",
    "save": "Speichern",
    "leave": "Alles abbestellen",
    "leave_what": "Keine Nachrichten mehr, über keinen Kanal.",
    "leave_always": "Was oben steht, kommt weiterhin.",
    "leave_sure": "Ja, ich möchte alles abbestellen",
    "leave_do": "Alles abbestellen",
    "left": "Sie haben alles abbestellt.",
    "return_do": "Wieder Nachrichten erhalten",
    "return_needs": "Für Nachrichten fehlt Ihre Einwilligung.",
    "return_what": "Dann gilt wieder, was Sie vorher gewählt hatten.",
    "saved": "Gespeichert. Es gilt ab jetzt.",
    "saved_partly": "Nicht alles konnte gespeichert werden. Was Sie hier sehen, gilt ab jetzt.",
    "unchanged": "Es wurde nichts geändert.",
    "too_often": "Sie haben das heute sehr oft geändert. Abbestellen können Sie immer, alles andere morgen wieder.",
    "unsubscribed_now": "Sie sind abgemeldet. Es gilt ab jetzt.",
    "gone": "Dieser Link ist abgelaufen",
    "gone_what": "Er gehört zu einer Nachricht, die lange her ist. In einer neueren steht einer, der gilt.",
    "unknown": "Dieser Link gilt nicht",
    "unknown_what": "Vielleicht ist er unterwegs gekürzt worden. Versuchen Sie den Link der Nachricht noch einmal, "
    "oder den einer neueren.",
    "later": "Gerade geht es nicht",
    "later_what": "Wir konnten das nicht speichern. Bitte versuchen Sie es in einer Minute noch einmal.",
    "unread": "Das haben wir nicht verstanden",
    "unread_what": "Es wurde nichts geändert. Gehen Sie zurück, und versuchen Sie es noch einmal.",
    "email": "E-Mail",
    "push": "Push-Nachricht",
    "sms": "SMS",
    "in_app": "Nachricht in der App",
    "phone": "Telefon",
    "letter": "Brief",
    "per_day": "am Tag",
    "per_week": "in der Woche",
    "per_month": "im Monat",
    "per_days": "in {count} Tagen",
    "per_hours": "in {count} Stunden",
    "per_minutes": "in {count} Minuten",
    "per_ever": "überhaupt",
}
LANGUAGES: Final[Mapping[str, Words]] = MappingProxyType({"en": MappingProxyType(_EN), "de": MappingProxyType(_DE)})
_ACCEPTED_MAX: Final = 20


def words_for(accept_language: str) -> Words:
    """The words in the language that a browser's Accept-Language likes best; English where it likes none of them."""
    best, best_quality = "en", 0.0
    for part in accept_language.lower().split(",")[:_ACCEPTED_MAX]:
        name, _, parameter = part.strip().partition(";")
        language = "en" if name.strip() == "*" else name.strip().partition("-")[0]
        quality = _quality(parameter)
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return LANGUAGES[best]


def per(words: Words, window: Window) -> str:
    """In what time a limit counts, as people say it."""
    match window:
        case CalendarWindow():
            return {
                Calendar.DAY: words["per_day"],
                Calendar.WEEK: words["per_week"],
                Calendar.MONTH: words["per_month"],
            }[window.calendar]
        case Lifetime():
            return words["per_ever"]
        case Rolling():
            return _in(words, window.length_us)


def _in(words: Words, length_us: int) -> str:
    if length_us == DAY_US:
        return words["per_day"]
    if length_us == 7 * DAY_US:
        return words["per_week"]
    for name, unit_us in (("per_days", DAY_US), ("per_hours", HOUR_US)):
        if length_us % unit_us == 0:
            return words[name].format(count=length_us // unit_us)
    return words["per_minutes"].format(count=-(-length_us // MINUTE_US))


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(float(value), 1.0)
    except ValueError:
        return 0.0

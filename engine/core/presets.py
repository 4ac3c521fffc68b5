"""Policies to start from, as the YAML that people read, with the source of each number beside it.

A preset is a text like any policy file: it is shown, changed and loaded the same way. Where a number has no source it
says so. Figures of what customers *say* they would do are marked as stated intentions: they tell where people draw the
line, not how many leave.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from engine.core.errors import NotFound
from engine.core.reading import alternatives

_CONSIDERATE: Final = """\
# considerate: few contacts, well spaced, none at night.
#
# For a company that lives on customers who stay. A contact more sells a little today, and an unsubscribe ends every
# later one; so the limits lie below the first line that customers draw when they are asked. LinkedIn sent 35 % fewer
# e-mails and had 53 % fewer complaints for 1.8 % fewer sessions (2016); Pinterest sent 24 % fewer, and active users
# did not change (2018). Where your customers' line is, an experiment on a budget tells: start low, and test upwards.

schema: 1
mode: enforce                       # observe answers allow, and the journal holds what it would have said
unknown_timezone: Europe/Berlin     # for customers whose zone nobody told us; deny sends them nothing

# German law (§ 7 UWG) wants prior consent for promotional e-mail, SMS and calls, with an exception for e-mail to
# existing customers about similar goods; other countries have rules of their own. The preset asks for no stored
# consent, because yours are not here yet. Once they are, remove the # before the next four lines.
#channels:
#  email: {consent: opt_in}         # or existing_customer
#  sms: {consent: opt_in}
#  phone: {consent: opt_in}

topics:
  promotions: {purpose: sell}
  newsletter: {purpose: sell}
  product-news: {purpose: sell}
  survey: {purpose: ask}            # a survey is a contact too
  # Exempt passes every rule but hard suppressions, so it has a ceiling against loops. Judgement: no known source.
  order-updates: {purpose: serve, exempt: true, counts: false, ceiling: {limit: 10, window: {rolling: 1d}}}
  account: {purpose: serve, exempt: true, counts: false, ceiling: {limit: 10, window: {rolling: 1d}}}
  incident: {purpose: serve, exempt: true, counts: false}     # tell customers clearly when something fails: no ceiling

budgets:
  # 37 % say they switch push off at two to five a week (stated intention): stay below two.
  - name: push-weekly
    channels: [push]
    topics: [promotions, newsletter, product-news]
    limit: 1
    window: {rolling: 7d, tolerance: 30m}       # tolerance: a weekly job is never on the second

  # 78 % say they unsubscribe from a newsletter when they get too many e-mails (stated intention). Measured are 0.2 to
  # 2.3 % unsubscribes per e-mail, so each one less keeps somebody. Mail providers want complaints under 0.10 %, never
  # 0.30 %.
  - name: email-weekly
    channels: [email]
    topics: [promotions, newsletter, product-news]
    limit: 2
    window: {rolling: 7d, tolerance: 30m}

  # Dearer and closer than e-mail, and endless offers by phone are the misreading of customer centricity. The numbers
  # are judgement: no known source.
  - name: sms-monthly
    channels: [sms]
    topics: [promotions, newsletter, product-news]
    limit: 2
    window: {rolling: 30d}
  - name: phone-quarterly
    channels: [phone]
    topics: [promotions, newsletter, product-news]
    limit: 1
    window: {rolling: 90d}

  # Every department makes its own bump in the customer's road: one limit over all channels and teams. With the weekly
  # ones it stays far from ten a week, where 21 % say they would stop using the app (stated intention).
  - name: any-daily
    limit: 2
    window: {calendar: day}                     # the customer's own day

  # The same message twice is a reminder that nobody asked for. Judgement: no known source. A series, such as a
  # weekly newsletter, names each of its issues as a campaign of its own.
  - name: same-campaign
    per: campaign
    limit: 1
    window: {rolling: 30d}

  # A calendar day alone allows 23:00 and 00:00; sixteen hours put a night between two contacts.
  - name: spacing
    channels: [email, phone, sms]
    min_gap: 16h

  - name: survey-quarterly                      # judgement: no known source
    topics: [survey]
    limit: 1
    window: {rolling: 90d}

# Channels that ring are silent at night and calls keep to working hours; by the customer's wall clock. Judgement,
# after what people call decent; some countries fix hours for calls by law. E-mail waits silently for its reader.
quiet_hours:
  - {channels: [push, sms], from: "21:00", to: "08:00"}
  - {channels: [phone], from: "20:00", to: "09:00"}
  - {channels: [phone], days: [sat, sun], from: "09:00", to: "20:00"}     # with the line above: no calls at weekends

# Frustration met with goodwill keeps a customer: nothing is sold or asked while a service case is open. The end is
# there for cases that nobody closes; its length is judgement.
pauses:
  - {from: case_opened, until: case_closed, at_most: 14d, topics: [promotions, newsletter, product-news, survey]}

lease: 5m                           # how long an allowed message is held for its sender to confirm
max_lease: 24h
on_expiry: release
soft_bounces: {suppress_after: 5, within: 30d}      # judgement: providers' own retries are over by then
"""

_STANDARD: Final = """\
# standard: what many customers put up with, and a stop before most would leave.
#
# For a company that sends daily today and wants an order in it first. The limits lie between the two lines that
# customers draw when they are asked: two to five pushes a week, and more than ten messages. It costs fewer sends than
# `considerate`, and keeps fewer customers reachable; which of the two is worth more, an experiment tells.

schema: 1
mode: enforce                       # observe answers allow, and the journal holds what it would have said
unknown_timezone: Europe/Berlin     # for customers whose zone nobody told us; deny sends them nothing

# German law (§ 7 UWG) wants prior consent for promotional e-mail, SMS and calls, with an exception for e-mail to
# existing customers about similar goods; other countries have rules of their own. The preset asks for no stored
# consent, because yours are not here yet. Once they are, remove the # before the next four lines.
#channels:
#  email: {consent: opt_in}         # or existing_customer
#  sms: {consent: opt_in}
#  phone: {consent: opt_in}

topics:
  promotions: {purpose: sell}
  newsletter: {purpose: sell}
  product-news: {purpose: sell}
  survey: {purpose: ask}            # a survey is a contact too
  # Exempt passes every rule but hard suppressions, so it has a ceiling against loops. Judgement: no known source.
  order-updates: {purpose: serve, exempt: true, counts: false, ceiling: {limit: 20, window: {rolling: 1d}}}
  account: {purpose: serve, exempt: true, counts: false, ceiling: {limit: 20, window: {rolling: 1d}}}
  incident: {purpose: serve, exempt: true, counts: false}     # tell customers clearly when something fails: no ceiling

budgets:
  # 37 % say they switch push off at two to five a week (stated intention): this is inside that range.
  - name: push-weekly
    channels: [push]
    topics: [promotions, newsletter, product-news]
    limit: 3
    window: {rolling: 7d, tolerance: 30m}       # tolerance: a weekly job is never on the second

  # 78 % say they unsubscribe from a newsletter when they get too many e-mails (stated intention; how many is too many
  # was not asked). Measured are 0.2 to 2.3 % unsubscribes per e-mail. Mail providers want complaints under 0.10 %,
  # never 0.30 %: watch yours.
  - name: email-weekly
    channels: [email]
    topics: [promotions, newsletter, product-news]
    limit: 4
    window: {rolling: 7d, tolerance: 30m}

  # Dearer and closer than e-mail. The numbers are judgement: no known source.
  - name: sms-monthly
    channels: [sms]
    topics: [promotions, newsletter, product-news]
    limit: 4
    window: {rolling: 30d}
  - name: phone-monthly
    channels: [phone]
    topics: [promotions, newsletter, product-news]
    limit: 1
    window: {rolling: 30d}

  # At more than ten a week 21 % say they would stop using the app (stated intention): ten over all channels and teams.
  - name: any-weekly
    limit: 10
    window: {rolling: 7d, tolerance: 30m}

  - name: any-daily                             # judgement: no known source
    limit: 3
    window: {calendar: day}                     # the customer's own day

  # The same message twice is a reminder that nobody asked for. Judgement: no known source. A series, such as a
  # weekly newsletter, names each of its issues as a campaign of its own.
  - name: same-campaign
    per: campaign
    limit: 1
    window: {rolling: 14d}

  # A calendar day alone allows 23:00 and 00:00. Four hours are judgement: no known source.
  - name: spacing
    channels: [email, phone, sms]
    min_gap: 4h

  - name: survey-monthly                        # judgement: no known source
    topics: [survey]
    limit: 1
    window: {rolling: 30d}

# Channels that ring are silent at night; by the customer's wall clock. Judgement, after what people call decent; some
# countries fix hours for calls by law. E-mail waits silently for its reader.
quiet_hours:
  - {channels: [push, sms], from: "22:00", to: "07:00"}
  - {channels: [phone], from: "20:00", to: "09:00"}
  - {channels: [phone], days: [sun], from: "09:00", to: "20:00"}          # with the line above: no calls on Sundays

# Frustration met with goodwill keeps a customer: nothing is sold while a service case is open. The end is there for
# cases that nobody closes; its length is judgement.
pauses:
  - {from: case_opened, until: case_closed, at_most: 7d, topics: [promotions, newsletter, product-news]}

lease: 5m                           # how long an allowed message is held for its sender to confirm
max_lease: 24h
on_expiry: release
soft_bounces: {suppress_after: 5, within: 30d}      # judgement: providers' own retries are over by then
"""

PRESETS: Final[Mapping[str, str]] = MappingProxyType({"considerate": _CONSIDERATE, "standard": _STANDARD})


def preset(name: str) -> str:
    """The text of a preset; raises `NotFound` with the names there are."""
    if name not in PRESETS:
        raise NotFound(f"There is no preset of that name; there is {alternatives(tuple(PRESETS), name)}.")
    return PRESETS[name]

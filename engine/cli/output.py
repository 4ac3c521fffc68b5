"""What the command line prints for people."""

from engine.operations.start import Ready
from engine.settings import Settings


def banner(settings: Settings, ready: Ready) -> None:
    """Where the service is, the key, and a line to paste."""
    address = f"http://{settings.host}:{settings.port}"
    policy = f"ruleset {ready.ruleset}, {ready.policy_mode}" + (", just activated" if ready.is_new else "")
    print(f"Takt answers at {address}   (policy: {policy}; API: {address}/docs)")
    if ready.key is not None:
        print(f"Key: {ready.key}\n\nAsk:\n")
        print(f"curl -s {address}/v1/decisions -H 'Authorization: Bearer {ready.key}' -d '{_ASK}'\n")
    else:
        print("Make a key with: takt keys create --name crm --scope decide\n")


_ASK = '{"message_id": "m-1", "customer_id": "ada", "channel": "email", "topic": "promotions"}'

"""The one form of prompt that training, serving and gates share.

Another form would train for nothing.

Base models without a chat template are the default, so turns are plain lines with role names. The
text of a prompt is the same in every language; only its content is in the customer's.
"""

from collections.abc import Sequence

STOP = "\nCustomer:"
"""Generation ends here: the model began to speak for the customer."""

HISTORY_TURNS = 4
_ROLE = {"user": "Customer", "assistant": "Agent"}


def reply_prompt(turns: Sequence[tuple[str, str]], facts: Sequence[str] = ()) -> str:
    """Return the prompt whose continuation is the agent's next reply (beginning with a space).

    Args:
        turns: ``(role, text)`` pairs, oldest first; roles ``user`` and ``assistant``; the last
            ``HISTORY_TURNS`` count.
        facts: lines that the answer may rest on, for example passages of the knowledge base.
    """
    lines = [f"Note: {' '.join(fact.split())}" for fact in facts]
    lines += [
        f"{_ROLE[role]}: {' '.join(text.split())}"
        for role, text in turns[-HISTORY_TURNS:]
        if role in _ROLE
    ]
    return "\n".join([*lines, "Agent:"])


def reply_target(text: str) -> str:
    """Return the continuation that is trained and scored for an agent's reply."""
    return " " + " ".join(text.split()) + "\n"


def intent_prompt(text: str) -> str:
    """Return the prompt whose continuation is the name of the intent (beginning with a space)."""
    return f"Customer: {' '.join(text.split())}\nTopic of the message:"


def intent_target(intent: str) -> str:
    """Return the continuation for an intent: a space, its words (``order status``), a newline."""
    return " " + intent.replace("_", " ").replace("/", " ") + "\n"


_TOPICS = (
    ("My parcel should have come on Monday, where is it now?", "late delivery"),
    ("كيف أعيد حذاء لا يناسبني؟", "returning an item"),
    ("我的订单被扣了两次款", "double charge"),
    ("Quiero cambiar la dirección de mi cuenta", "change of address"),
    ("Do you have these boots in size 42?", "product availability"),
    ("لماذا رُفضت بطاقتي عند الدفع؟", "declined card payment"),
)
TOPIC_EXAMPLES = "".join(
    f'Customer question: "{text}"\nTopic of the question: {topic}\n' for text, topic in _TOPICS
)
"""Public examples, in our own words, before every :func:`topic_prompt`."""


def topic_prompt(text: str) -> str:
    """Return the prompt after whose last token a model's state says what a message is about."""
    return f'Customer question: "{" ".join(text.split())}"\nTopic of the question:'

"""What the exercises of the lessons share: a check that tells right from wrong and does not give the answer away."""

from numbers import Real


def check(exercise: int, answer: object, right: object, hint: str, within: float = 0.0) -> None:
    """Print whether an answer is right, or else a hint. Nothing is printed while there is no answer.

    Parameters
    ----------
    exercise : int
        Its number.
    answer : object
        What the student wrote, or None.
    right : object
        What it should be.
    hint : str
    within : float
        How far from `right` a number may lie.

    Examples
    --------
    >>> check(1, None, 0.318, "What is left of a negative number?", within=0.01)
    >>> check(1, 0.32, 0.318, "What is left of a negative number?", within=0.01)
    Exercise 1: right
    >>> check(1, 0, 0.318, "What is left of a negative number?", within=0.01)
    Exercise 1: not yet. What is left of a negative number?
    """
    if answer is None:
        return
    numbers = isinstance(answer, Real) and isinstance(right, Real)
    correct = abs(answer - right) <= within if numbers else answer == right
    print(f"Exercise {exercise}: {'right' if correct else f'not yet. {hint}'}")

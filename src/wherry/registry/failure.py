"""What a failed pull or push says to a person: the registry's answer, with the image named as Docker names it."""

from __future__ import annotations

from wherry import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.reference import Reference


def of_pull(reference: Reference, failure: errors.WherryError) -> errors.WherryError:
    """The error of a pull, in dockerd's words; what is not about access or existence stays as it is."""
    code = failure.message.partition(":")[0]
    if code == "denied":
        return errors.NotFound(f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
                               f"'docker login': {failure.message}", hint="check the name, or log in first")
    if code == "manifest unknown":
        return errors.NotFound(f"manifest for {reference.familiar()} not found: {failure.message}")
    if code == "name unknown":
        return errors.NotFound(f"repository {reference.familiar_name} not found: {failure.message}")
    if isinstance(failure, errors.NotFound) and "no matching manifest" not in failure.message:
        return errors.NotFound(f"manifest for {reference.familiar()} not found: {failure.message}")
    return failure

"""Guessing passwords, made slow: wrong guesses are limited for each secret and for each client address.

The limit of a secret stops many addresses from guessing one password; it would also let anybody lock its owner out.
So an address from which the password was right before has an allowance of its own for that secret.

A guess is charged before it is compared, so that many at once get no more than many in turn, and given back when it
was right.
"""

from collections import OrderedDict
from collections.abc import Hashable

import trio

from signaling.auth.allowances import DEFAULT_CAPACITY, Allowances, Rate
from signaling.auth.client_address import attempts_key
from signaling.auth.errors import AuthError, TooManyAttemptsError
from signaling.auth.passwords import Passwords, Verification, prepare_password

#: 4,340 guesses a day at one password, from however many addresses.
PER_SECRET = Rate(burst=20, per_second=1 / 20)
#: A classroom behind one address may mistype; a guesser there gets 8,640 tries a day at all names together.
PER_ADDRESS = Rate(burst=30, per_second=1 / 10)

Bucket = tuple[Allowances, Hashable, Rate]


class GuardedPasswords:
    """See the module. ``subject`` is what a password is for: anything hashable that names one secret."""

    def __init__(
        self,
        passwords: Passwords,
        *,
        per_secret: Rate = PER_SECRET,
        per_address: Rate = PER_ADDRESS,
        capacity: int = DEFAULT_CAPACITY,
    ) -> None:
        self.passwords = passwords
        #: Guesses that were not even compared.
        self.refused = 0
        self._per_secret = per_secret
        self._per_address = per_address
        self._capacity = capacity
        # Apart, so that a flood of addresses makes no secret's bucket be forgotten.
        self._of_secrets = Allowances(capacity)
        self._of_owners = Allowances(capacity)
        self._of_addresses = Allowances(capacity)
        self._owners: OrderedDict[tuple[Hashable, str], None] = OrderedDict()

    async def verify(
        self, subject: Hashable, password_hash: str | None, password_untrusted: str, *, client: str
    ) -> Verification:
        """Compare a password with a hash (None: there is none, which takes as long and is wrong).

        ``client`` is the address the guess comes from.

        Raises: TooManyAttemptsError, PasswordFormatError, PasswordsBusyError.
        """
        prepare_password(password_untrusted)  # what cannot be a password is no guess
        address = attempts_key(client)
        owner = (subject, address)
        known = owner in self._owners
        buckets: list[Bucket] = [(self._of_addresses, address, self._per_address)]
        if (
            password_hash is not None
        ):  # what is no secret needs no limit of its own, and takes no secret's place
            buckets.append(
                (self._of_owners, owner, self._per_secret)
                if known
                else (self._of_secrets, subject, self._per_secret)
            )
        self._charge(buckets)
        try:
            verification = await self.passwords.verify(password_hash, password_untrusted)
        except AuthError:
            self._give_back(buckets)
            raise
        if verification.right:
            self._give_back(buckets)
            self._remember(owner)
        return verification

    def _charge(self, buckets: list[Bucket]) -> None:
        now = trio.current_time()
        for index, (allowances, key, rate) in enumerate(buckets):
            allowance = allowances.take(key, rate, now)
            if not allowance.allowed:
                self._give_back(buckets[:index])
                self.refused += 1
                seconds = allowance.retry_after_seconds
                raise TooManyAttemptsError(
                    f"too many wrong passwords: try again in {max(1, round(seconds))} s",
                    retry_after_seconds=seconds,
                )

    def _give_back(self, buckets: list[Bucket]) -> None:
        now = trio.current_time()
        for allowances, key, rate in buckets:
            allowances.give_back(key, rate, now)

    def _remember(self, owner: tuple[Hashable, str]) -> None:
        self._owners[owner] = None
        self._owners.move_to_end(owner)
        if len(self._owners) > self._capacity:
            self._owners.popitem(last=False)

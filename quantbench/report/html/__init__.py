"""One self-contained page of recorded runs: no network, no library, nothing of a file taken as markup."""

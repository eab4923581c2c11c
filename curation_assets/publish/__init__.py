"""Group publish: subsets, judged (`curating`), cut (`cutting`) and written as versions with their cards (`writing`)."""

"""The scoring service: takes texts by HTTP and answers with the champion."""

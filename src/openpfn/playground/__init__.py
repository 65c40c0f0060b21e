"""The playground: shipped networks in a web page, by the C that runs on a chip."""

"""How the built-in model of Teststrip is made: pictures, captions, four small networks, a gate."""

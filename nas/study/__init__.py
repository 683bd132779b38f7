"""WHERE EVERYTHING MEETS: one study from its config to its records.

Import from the files: config, folder and front load no torch; evaluate, loop and session do.
"""

"""WHERE TRAINING HAPPENS: one contract (`nas.study.jobs.Executor`), a file for each place. They know nothing of data.

Import from the files; a part that needs a library of its own (Ray) is not to be paid for by the others.
"""

"""A configuration -> a run folder.

    training     data, model, optimizer and `fit` put together; resuming
    named_files  the files that its configuration names
    new_run      the folder of a new run
    datasets     annotations read and checked, batches to train on
    anchor_fit   objects held against anchors and levels
    schedule     length, epochs and learning rate
    stopping     Ctrl-C, a loss that is no number
    checkpoints  the newest that is whole, and those by the clock
    unsettled    the epoch that a killed run did not evaluate
    restart      what a run began with, compared when it goes on
    lock         one run, one process
    progress     the step and the learning rate of an optimizer
    four_step, four_step_rules
                 the same in the four steps of table 5, or their first two (table 3)
    run_folder   what a run keeps on disk
    callbacks    evaluation, progress and learning rate during `fit`
"""

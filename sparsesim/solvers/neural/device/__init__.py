"""The sparse layer away from the host: static shapes, no look at a value, sums in one fixed order.

``reference`` is plain torch and runs anywhere; ``compiled`` are Triton kernels with the same interface, for GPUs and
for Triton's interpreter. ``reference_step`` and ``compiled_step`` are the same for the operations of a ``whole`` step.
``place`` says which of them serves a tensor.
"""

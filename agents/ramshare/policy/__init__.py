"""How much memory a host can spare, decided from samples alone: pure, streaming, standard library only.

The lender's agent feeds live samples, the lab a recorded trace; both run the same code. `model`
holds what goes in and out, `intake` turns what guests claim into figures that can be trusted, each other module is one
policy, and `registry` finds them by name.
"""

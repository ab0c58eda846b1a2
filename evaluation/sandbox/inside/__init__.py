"""What runs inside the sandbox, beside the program under test: nothing here is trusted once a program has started."""

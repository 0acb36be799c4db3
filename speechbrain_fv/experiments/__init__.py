"""Many runs compared: ablations of the method, and benchmarks beside other libraries."""

//! The `simulate` example: policies over a trace without a dataflow, in-process and as a program.

#[path = "../examples/simulate/balance/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the example")]
mod balance;
#[path = "simulate/in_process.rs"]
mod in_process;
#[path = "simulate/program.rs"]
mod program;
#[path = "program/mod.rs"]
mod run;

;; The whole of WASI preview 1 that a C library may link without the resolver's author
;; knowing: `snprintf` alone brings `fd_write`, `fd_seek` and `fd_close`. Each function
;; answers ENOSYS (52, "not supported"), so that a resolver has no files, clock, randomness
;; or environment; `proc_exit`, which must not return, traps.
;;
;; `stub-adapter.wasm` is made of this file by
;;     TAPEMARK_BLESS=1 cargo test -p componentize stub_adapter
(module
  (func (export "args_get") (param i32 i32) (result i32)
    i32.const 52)
  (func (export "args_sizes_get") (param i32 i32) (result i32)
    i32.const 52)
  (func (export "clock_res_get") (param i32 i32) (result i32)
    i32.const 52)
  (func (export "clock_time_get") (param i32 i64 i32) (result i32)
    i32.const 52)
  (func (export "environ_get") (param i32 i32) (result i32)
    i32.const 52)
  (func (export "environ_sizes_get") (param i32 i32) (result i32)
    i32.const 52)
  (func (export "fd_close") (param i32) (result i32)
    i32.const 52)
  (func (export "fd_fdstat_get") (param i32 i32) (result i32)
    i32.const 52)
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32)
    i32.const 52)
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32)
    i32.const 52)
  (func (export "fd_prestat_get") (param i32 i32) (result i32)
    i32.const 52)
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32)
    i32.const 52)
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32)
    i32.const 52)
  (func (export "fd_write") (param i32 i32 i32 i32) (result i32)
    i32.const 52)
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)
    i32.const 52)
  (func (export "random_get") (param i32 i32) (result i32)
    i32.const 52)
  (func (export "proc_exit") (param i32)
    unreachable))

;; Addresses a request to a user and a password and a path, and traps if that is taken.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "fields" (func $fields (result i32)))
  (import "host" "request" (func $request (param i32) (result i32)))
  (import "host" "set-authority" (func $set-authority (param i32 i32 i32 i32) (result i32)))
  (data (i32.const 256) "a b@localhost/c\0d\0a")
  (func (export "handle") (param $call i32) (result i32)
    (if (i32.eqz (call $set-authority (call $request (call $fields)) (i32.const 1) (i32.const 256) (i32.const 17)))
      (then (unreachable)))
    (i32.const 16)))

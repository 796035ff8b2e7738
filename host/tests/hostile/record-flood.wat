;; Records 64 results of 256 KiB, one that is larger and one without a name, and asks to be called again at once, over and
;; over. Traps when it is answered otherwise than the documentation says: four fit, the others are refused.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "record" (func $record (param i32 i32 i32 i32 i32)))
  (import "host" "again" (func $again (param i64 i32)))
  (data (i32.const 256) "step-")
  ;; Records so many bytes under the name at 256; the answer has to be this error, of `full`, `too-large` and `invalid-name`.
  (func $is-refused (param $name i32) (param $bytes i32) (param $error i32)
    (call $record (i32.const 256) (local.get $name) (i32.const 65536) (local.get $bytes) (i32.const 320))
    (if (i32.eqz (i32.load8_u (i32.const 320))) (then (unreachable)))
    (if (i32.ne (i32.load8_u (i32.const 324)) (local.get $error)) (then (unreachable))))
  (func (export "handle") (param $call i32) (result i32)
    (local $n i32)
    (loop $more
      (i32.store8 (i32.const 261) (i32.add (i32.const 48) (local.get $n)))
      (if (i32.lt_u (local.get $n) (i32.const 4))
        (then
          (call $record (i32.const 256) (i32.const 6) (i32.const 65536) (i32.const 262144) (i32.const 320))
          (if (i32.load8_u (i32.const 320)) (then (unreachable))))
        (else (call $is-refused (i32.const 6) (i32.const 262144) (i32.const 2))))
      (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 64))))
    (call $is-refused (i32.const 6) (i32.const 262145) (i32.const 1))
    (call $is-refused (i32.const 0) (i32.const 1) (i32.const 0))
    (call $again (i64.const 0) (i32.const 320))
    (if (i32.load8_u (i32.const 320)) (then (unreachable)))
    (i32.const 16)))

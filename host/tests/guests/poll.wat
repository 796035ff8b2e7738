;; Records `paid` for the step `charge` and asks to be called again after 20 ms. When it recalls that result, it returns
;; one event of type `guest.echoed` with the body that it was given. Traps if the store does not answer.
(component
  (import "hookbox:plugin/types@0.1.1" (instance $types
    (type $e (record
      (field "id" string) (field "source" string) (field "type" string) (field "subject" (option string))
      (field "time" string) (field "data-content-type" (option string)) (field "data" (list u8))))
    (export "event" (type (eq $e)))
    (type $c (record
      (field "attempt" u32) (field "max-attempts" u32) (field "idempotency-key" string) (field "parent" (option string))))
    (export "context" (type (eq $c)))
    (type $n (record
      (field "type" string) (field "subject" (option string)) (field "data-content-type" (option string))
      (field "data" (list u8)) (field "delay-ms" (option u64))))
    (export "new-event" (type (eq $n)))
    (type $r (record (field "reason" string) (field "after-ms" (option u64))))
    (export "retry-later" (type $later (eq $r)))
    (type $f (variant (case "retry" $later) (case "reject" string)))
    (export "failure" (type (eq $f)))))
  (import "hookbox:plugin/steps@0.1.1" (instance $steps
    (type $e (variant
      (case "invalid-name") (case "too-large") (case "full") (case "lost") (case "unavailable" string)))
    (export "error" (type $error (eq $e)))
    (export "recall" (func (param "name" string) (result (result (option (list u8)) (error $error)))))
    (export "record" (func (param "name" string) (param "value" (list u8)) (result (result (error $error)))))
    (export "again" (func (param "after-ms" u64) (result (result (error $error)))))))
  ;; The memory is a module of its own, so that imports can be lowered onto it.
  (core module $libc
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get $size)))
      (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16))) (then
        (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))))
  (core instance $libc (instantiate $libc))
  (core func $recall (canon lower (func $steps "recall")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $record (canon lower (func $steps "record")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $again (canon lower (func $steps "again")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (alias export $types "event" (type $event))
  (alias export $types "context" (type $context))
  (alias export $types "new-event" (type $new-event))
  (alias export $types "failure" (type $failure))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "recall" (func $recall (param i32 i32 i32)))
    (import "host" "record" (func $record (param i32 i32 i32 i32 i32)))
    (import "host" "again" (func $again (param i64 i32)))
    (export "memory" (memory 0))
    (export "realloc" (func $realloc))
    (data (i32.const 256) "guest.echoed" "application/json" "charge" "paid")
    (func (export "handle") (param $call i32) (result i32)
      ;; Result at 320: tag, then at 324 the option's tag, address and length.
      (call $recall (i32.const 284) (i32.const 6) (i32.const 320))
      (if (i32.load8_u (i32.const 320)) (then (unreachable)))
      (if (i32.load8_u (i32.const 324))
        (then
          (if (i32.ne (i32.load (i32.const 332)) (i32.const 4)) (then (unreachable)))
          (if (i32.ne (i32.load (i32.load (i32.const 328))) (i32.load (i32.const 290))) (then (unreachable)))
          ;; ok, a list of one at 64
          (i32.store (i32.const 24) (i32.const 64))
          (i32.store (i32.const 28) (i32.const 1))
          ;; type; subject stays none
          (i32.store (i32.const 64) (i32.const 256))
          (i32.store (i32.const 68) (i32.const 12))
          ;; some data-content-type
          (i32.store (i32.const 84) (i32.const 1))
          (i32.store (i32.const 88) (i32.const 268))
          (i32.store (i32.const 92) (i32.const 16))
          ;; data: address and length as they came
          (i64.store (i32.const 96) (i64.load offset=56 (local.get $call))))
        (else
          (call $record (i32.const 284) (i32.const 6) (i32.const 290) (i32.const 4) (i32.const 352))
          (if (i32.load8_u (i32.const 352)) (then (unreachable)))
          (call $again (i64.const 20) (i32.const 352))
          (if (i32.load8_u (i32.const 352)) (then (unreachable)))))
      (i32.const 16))
  )
  (core instance $guest (instantiate $m
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "recall" (func $recall)) (export "record" (func $record)) (export "again" (func $again))))))
  (func $handle (param "event" $event) (param "context" $context)
    (result (result (list $new-event) (error $failure)))
    (canon lift (core func $guest "handle")
      (memory (core memory $guest "memory")) (realloc (core func $guest "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "hookbox:plugin/handler@0.1.1" (instance $handler)))

;; Does what its configuration says under `do`, by the first letter: `fail`, it asks to be called again; `later`, the same
;; and says at once; `reject`; `trap`; anything else, it succeeds. Logs that value sixteen times.
(component
  (import "hookbox:plugin/types@0.1.0" (instance $types
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
  (import "hookbox:plugin/log@0.1.0" (instance $log
    (type $l (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $l)))
    (export "log" (func (param "level" $level) (param "message" string)))))
  (import "hookbox:plugin/config@0.1.0" (instance $config
    (export "get" (func (param "key" string) (result (option string))))))
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
  (core func $log (canon lower (func $log "log")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $config-get (canon lower (func $config "get")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (alias export $types "event" (type $event))
  (alias export $types "context" (type $context))
  (alias export $types "new-event" (type $new-event))
  (alias export $types "failure" (type $failure))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "log" (func $log (param i32 i32 i32)))
    (import "host" "config-get" (func $config-get (param i32 i32 i32)))
    (export "memory" (memory 0))
    (export "realloc" (func $realloc))
    (data (i32.const 256) "do")
    (data (i32.const 264) "as told")
    (func (export "handle") (param $call i32) (result i32)
      (local $what i32) (local $lines i32)
      (call $config-get (i32.const 256) (i32.const 2) (i32.const 320))
      (if (i32.load8_u (i32.const 320)) (then
        (local.set $what (i32.load8_u (i32.load (i32.const 324))))
        (loop $again
          (call $log (i32.const 2) (i32.load (i32.const 324)) (i32.load (i32.const 328)))
          (local.set $lines (i32.add (local.get $lines) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $lines) (i32.const 16))))))
      ;; "t"
      (if (i32.eq (local.get $what) (i32.const 116)) (then unreachable))
      ;; The reason, and no after-ms: "f"
      (i32.store (i32.const 32) (i32.const 264))
      (i32.store (i32.const 36) (i32.const 7))
      (if (i32.eq (local.get $what) (i32.const 102)) (then
        (i32.store (i32.const 16) (i32.const 1))))
      ;; "l": after 0 ms
      (if (i32.eq (local.get $what) (i32.const 108)) (then
        (i32.store (i32.const 16) (i32.const 1))
        (i32.store (i32.const 40) (i32.const 1))))
      ;; "r"
      (if (i32.eq (local.get $what) (i32.const 114)) (then
        (i32.store (i32.const 16) (i32.const 1))
        (i32.store (i32.const 24) (i32.const 1))))
      ;; An empty list of events, if it succeeds.
      (if (i32.eqz (i32.load (i32.const 16))) (then
        (i32.store (i32.const 24) (i32.const 0))
        (i32.store (i32.const 28) (i32.const 0))))
      (i32.const 16))
  )
  (core instance $guest (instantiate $m
    (with "libc" (instance $libc))
    (with "host" (instance (export "log" (func $log)) (export "config-get" (func $config-get))))))
  (func $handle (param "event" $event) (param "context" $context)
    (result (result (list $new-event) (error $failure)))
    (canon lift (core func $guest "handle")
      (memory (core memory $guest "memory")) (realloc (core func $guest "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "hookbox:plugin/handler@0.1.0" (instance $handler)))

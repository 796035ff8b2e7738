;; Fills a table of 20,000 elements, for ever.
(core module $m
  (table $t 20000 funcref)
  (elem declare func $none)
  (func $none)
  (func (export "handle") (param $call i32) (result i32)
    (loop $again
      (table.fill $t (i32.const 0) (ref.func $none) (i32.const 20000))
      (br $again))
    (unreachable)))

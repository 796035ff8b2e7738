;; Takes memory in the components within it, each of which grows its own when it is instantiated.
(component $grows
  (core module $m
    (memory 0)
    (func $start (drop (memory.grow (i32.const 64))))
    (start $start))
  (core instance (instantiate $m)))
(instance (instantiate $grows))
(instance (instantiate $grows))
(instance (instantiate $grows))
(instance (instantiate $grows))
(instance (instantiate $grows))
(instance (instantiate $grows))
(instance (instantiate $grows))
(core module $m
  (func (export "handle") (param i32) (result i32) (unreachable)))

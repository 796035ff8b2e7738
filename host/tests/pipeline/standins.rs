//! Stand-ins for HeyGen and for the shop. They do what the plan says, and keep a ledger of every
//! effect: under which idempotency keys it was asked for, and how often.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::plan::{Fate, Plan, VideoFate};
use super::senders::Message;
use crate::support::{Answer, Request, serve};

/// The keys that the host adds to requests.
pub(super) const HEYGEN_KEY: &str = "the-key-of-heygens-api";
pub(super) const SHOP_KEY: &str = "the-key-of-the-shops-api";

/// How HeyGen fails every request, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outage {
    None,
    /// It answers 503.
    Unavailable,
    /// It hangs up.
    Unreachable,
}

/// Something that was done outside, and must not be done twice.
#[derive(Default)]
pub(super) struct Effect {
    /// How often each idempotency key asked for it.
    pub(super) keys: BTreeMap<String, usize>,
    /// The body of the first request.
    pub(super) body: Value,
}

/// The state of the stand-ins.
pub(super) struct Ledger {
    /// By order, and by what was done: `video-1`, `approval`, `reminder`, `delivery`, `refund`.
    pub(super) effects: BTreeMap<(usize, String), Effect>,
    /// The last report that the shop was sent.
    pub(super) report: Value,
    pub(super) outage: Outage,
    /// Requests that were turned away since the outage last changed.
    pub(super) turned_away: usize,
    /// The messages still to be sent to the host.
    pub(super) outbox: VecDeque<Message>,
}

/// Both stand-ins.
pub(super) struct StandIns {
    pub(super) plan: Plan,
    ledger: Mutex<Ledger>,
}

impl StandIns {
    /// Starts both; their ports are HeyGen's and the shop's.
    pub(super) fn start(plan: Plan) -> (Arc<Self>, [u16; 2]) {
        let ledger = Mutex::new(Ledger {
            effects: BTreeMap::new(),
            report: Value::Null,
            outage: Outage::None,
            turned_away: 0,
            outbox: VecDeque::new(),
        });
        let both = Arc::new(Self { plan, ledger });
        let (heygen, shop) = (Arc::clone(&both), Arc::clone(&both));
        let ports = [
            serve(move |request| heygen.heygen(request)),
            serve(move |request| shop.shop(request)),
        ];
        (both, ports)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// The end of each order that has one, as the shop sees it: `complete`, or why it is refunded.
    pub(super) fn ends(&self) -> BTreeMap<usize, String> {
        let ledger = self.ledger();
        let end = |((order, what), effect): (&(usize, String), &Effect)| match what.as_str() {
            "delivery" => Some((*order, "complete".to_owned())),
            "refund" => Some((*order, effect.body["reason"].as_str().unwrap().to_owned())),
            _ => None,
        };
        ledger.effects.iter().filter_map(end).collect()
    }

    fn heygen(&self, request: &Request) -> Answer {
        let mut ledger = self.ledger();
        if ledger.outage != Outage::None {
            ledger.turned_away += 1;
            return match ledger.outage {
                Outage::Unavailable => failure(503, "try again later"),
                _ => Answer::HangUp,
            };
        }
        if request.header("x-api-key") != HEYGEN_KEY {
            return failure(401, "no such key");
        }
        let status = request.path.strip_prefix("/v1/video_status.get?video_id=v_");
        match (request.method.as_str(), status) {
            ("POST", None) if request.path == "/v2/video/generate" => {
                self.make(&mut ledger, request)
            }
            ("GET", Some(video)) => self.status(video),
            _ => failure(404, "no such thing"),
        }
    }

    /// Makes a video, once for each idempotency key.
    fn make(&self, ledger: &mut Ledger, request: &Request) -> Answer {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let order = number(body["callback_id"].as_str().unwrap());
        if self.plan.fate(order) == Fate::Refused {
            return failure(400, "this script is against the rules");
        }
        let (_, step) = request.header("idempotency-key").rsplit_once('/').unwrap();
        let video = step.strip_prefix("video-").unwrap().parse::<usize>().unwrap() - 1;
        let is_first = ledger.enter(order, step, request, body);
        if is_first {
            ledger.outbox.push_back(self.news(order, video));
            if self.plan.is_unanswered(order, video) {
                return Answer::HangUp;
            }
        }
        reply(&json!({ "error": null, "data": { "video_id": format!("v_{order}_{video}") } }))
    }

    /// The webhook about a video.
    fn news(&self, order: usize, video: usize) -> Message {
        let fate = self.plan.video(order, video);
        let mut data = json!({
            "video_id": format!("v_{order}_{video}"),
            "callback_id": format!("order_{order}"),
        });
        let kind =
            if fate == VideoFate::Failed { "avatar_video.fail" } else { "avatar_video.success" };
        match fate {
            VideoFate::Failed => data["msg"] = json!("the avatar has left"),
            _ => data["url"] = json!(format!("https://files.example.com/v_{order}_{video}.mp4")),
        }
        let body = json!({ "event_type": kind, "event_data": data }).to_string();
        let again = self.plan.is_repeated(order, video);
        Message::webhook("heygen", format!("v_{order}_{video}"), body, again)
    }

    fn status(&self, id: &str) -> Answer {
        let (order, video) = id.split_once('_').unwrap();
        let fate = self.plan.video(order.parse().unwrap(), video.parse().unwrap());
        let data = match fate {
            VideoFate::Lost => json!({ "status": "failed", "error": { "message": "it is lost" } }),
            _ => json!({
                "status": "completed",
                "video_url": format!("https://files.example.com/v_{id}.mp4?signature=1"),
                "thumbnail_url": format!("https://files.example.com/v_{id}.jpg"),
                "duration": 12.5,
            }),
        };
        reply(&json!({ "code": 100, "data": data }))
    }

    fn shop(&self, request: &Request) -> Answer {
        let mut ledger = self.ledger();
        if request.header("x-api-key") != SHOP_KEY || request.method != "POST" {
            return failure(403, "no such key");
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        if request.path == "/hooks/reports" {
            ledger.report = body;
            return reply(&json!({}));
        }
        let path =
            request.path.strip_prefix("/hooks/orders/").and_then(|path| path.split_once('/'));
        let Some((order, what)) = path else { return failure(404, "no such thing") };
        let (order, fate) = (number(order), self.plan.fate(number(order)));
        if what == "delivery" && fate == Fate::Undeliverable {
            return failure(410, "the customer has left");
        }
        if ledger.enter(order, what, request, body) {
            // A late customer answers when the money is back.
            let answer = match (what, fate) {
                ("approval", Fate::Denied) => Some("approval.denied"),
                ("approval", Fate::Granted | Fate::Undeliverable) => Some("approval.granted"),
                ("refund", Fate::Late) => Some("approval.granted"),
                _ => None,
            };
            ledger.outbox.extend(answer.map(|kind| Self::answer(order, kind)));
        }
        reply(&json!({}))
    }

    /// The webhook about a customer's answer.
    fn answer(order: usize, kind: &str) -> Message {
        let (name, order) = (format!("answer_{order}"), format!("order_{order}"));
        let body = json!({ "type": kind, "order": order, "id": name }).to_string();
        Message::webhook("shop", name, body, false)
    }
}

impl Ledger {
    /// Writes down what is asked for; says whether it is for the first time.
    fn enter(&mut self, order: usize, what: &str, request: &Request, body: Value) -> bool {
        let effect = self.effects.entry((order, what.to_owned())).or_default();
        let is_first = effect.keys.is_empty();
        if is_first {
            effect.body = body;
        }
        *effect.keys.entry(request.header("idempotency-key").to_owned()).or_default() += 1;
        is_first
    }
}

/// The number of an order in its name.
fn number(order: &str) -> usize {
    order.strip_prefix("order_").unwrap().parse().unwrap()
}

fn reply(body: &Value) -> Answer {
    Answer::Reply(200, body.to_string())
}

fn failure(status: u16, why: &str) -> Answer {
    Answer::Reply(status, json!({ "error": { "message": why } }).to_string())
}

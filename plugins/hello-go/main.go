// What happens when HeyGen has news of a video.
//
// The first part is what you write: a function for each type of event. The second part, at the end, ties it to hookbox;
// it stays as it is. The plugin is a plain command: it reads one event from standard input, writes the events that
// follow to standard output, and what it logs to standard error. A command imports nothing: steps, calls again, the
// key-value store and the configuration are for components.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
)

func processWebhookEvent(eventType string, body map[string]any) error {
	log.Printf("Received event: %s", eventType)

	data, ok := body["event_data"].(map[string]any)
	if !ok {
		return Reject("not a HeyGen notification")
	}
	switch data["simulate"] {
	case "outage":
		return Retry("simulated outage")
	case "refusal":
		return Reject("simulated refusal")
	}

	switch eventType {
	case "avatar_video.success":
		return handleVideoSuccess(data)
	case "avatar_video.fail":
		return handleVideoFailure(data)
	case "video_translate.success":
		return handleTranslationSuccess(data)
	default:
		log.Printf("Unknown event type: %s", eventType)
		return nil
	}
}

// HeyGen has renamed some fields: `video_url` and `url` are the same, and so are `error` and `msg`.

func handleVideoSuccess(data map[string]any) error {
	url, callbackID := text(data, "video_url", "url"), text(data, "callback_id")

	log.Printf("Video ready: %s", shown(url))
	return emit("order.video_ready", callbackID, map[string]any{"order": callbackID, "url": url})
}

func handleVideoFailure(data map[string]any) error {
	message, callbackID := text(data, "error", "msg"), text(data, "callback_id")

	log.Printf("Video failed: %s", shown(message))
	return emit("order.video_failed", callbackID, map[string]any{"order": callbackID, "error": message})
}

func handleTranslationSuccess(data map[string]any) error {
	url, callbackID := text(data, "video_url", "url"), text(data, "callback_id")

	log.Printf("Translation ready: %s", shown(url))
	return emit("order.translation_ready", callbackID, map[string]any{"order": callbackID, "url": url})
}

// text is the first of these members that is a text and not empty; nil if there is none.
func text(data map[string]any, names ...string) *string {
	for _, name := range names {
		if text, ok := data[name].(string); ok && text != "" {
			return &text
		}
	}
	return nil
}

func shown(text *string) string {
	if text == nil {
		return "null"
	}
	return *text
}

// ---------------------------------------------------------------------------------------------------------------------
// The glue: one event in, events out, and an exit code that says how it ended.

// Retry asks for another attempt, and says why.
type Retry string

func (reason Retry) Error() string { return string(reason) }

// Reject asks for none.
type Reject string

func (reason Reject) Error() string { return string(reason) }

// event is a CloudEvents document, as it is read and written. https://cloudevents.io
type event struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         *string         `json:"subject,omitempty"`
	DataContentType string          `json:"datacontenttype,omitempty"`
	Data            json.RawMessage `json:"data,omitempty"`
	DataBase64      []byte          `json:"data_base64,omitempty"`
}

var (
	received event
	emitted  int
)

// emit writes an event that follows from this one; without a subject it has that of this one.
func emit(eventType string, subject *string, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	emitted++
	return json.NewEncoder(os.Stdout).Encode(event{
		SpecVersion:     "1.0",
		ID:              fmt.Sprintf("%s/%d", received.ID, emitted),
		Source:          "hello-go",
		Type:            eventType,
		Subject:         subject,
		DataContentType: "application/json",
		Data:            body,
	})
}

func handle() error {
	if err := json.NewDecoder(os.Stdin).Decode(&received); err != nil {
		return fmt.Errorf("standard input is not a CloudEvents document: %w", err)
	}
	data := []byte(received.Data)
	if data == nil {
		data = received.DataBase64
	}
	var body map[string]any // Not JSON: an event without data.
	_ = json.Unmarshal(data, &body)
	return processWebhookEvent(received.Type, body)
}

func main() {
	log.SetFlags(0)
	err := handle()
	if err == nil {
		return
	}
	log.Print(err) // The last line of the log is the reason.
	if errors.As(err, new(Reject)) {
		os.Exit(65) // EX_DATAERR: never again.
	}
	os.Exit(75) // EX_TEMPFAIL: later.
}

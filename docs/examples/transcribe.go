// Speech to text through the gateway with the standard library: go run transcribe.go transcribe|stream|translate FILE
//
// OPENAI_BASE_URL is the gateway's address with /v1, OPENAI_API_KEY a key of the gateway.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

var paths = map[string]string{
	"transcribe": "/audio/transcriptions",
	"stream":     "/audio/transcriptions",
	"translate":  "/audio/translations",
}

var fields = map[string][][2]string{
	"transcribe": {{"model", "gpt-4o-transcribe"}},
	"stream":     {{"model", "gpt-4o-mini-transcribe"}, {"stream", "true"}},
	"translate":  {{"model", "whisper-1"}},
}

// Refused is the gateway's envelope around an error. RequestID finds the request in its log and ledger.
type Refused struct {
	Status    int
	RequestID string
	Retry     bool
	Code      string `json:"code"`
	Message   string `json:"message"`
}

func (r *Refused) Error() string {
	return fmt.Sprintf("%d %s (%s): %s", r.Status, r.Code, r.RequestID, r.Message)
}

// refused reads the envelope. A repeat helps with 408, 429 and 5xx, unless x-should-retry says that it does not: the
// first try may have been paid for.
func refused(answer *http.Response) error {
	told := &Refused{Status: answer.StatusCode, RequestID: answer.Header.Get("x-request-id")}
	transient := told.Status == 408 || told.Status == 429 || told.Status >= 500
	told.Retry = transient && answer.Header.Get("x-should-retry") != "false"
	if err := json.NewDecoder(answer.Body).Decode(&struct{ Error *Refused }{told}); err != nil {
		return fmt.Errorf("%s, not from the gateway: %w", answer.Status, err)
	}
	return told
}

// form writes the fields and then the file, which is read from the disk while it is sent: a large one takes no memory.
func form(to *multipart.Writer, task, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, field := range fields[task] {
		if err := to.WriteField(field[0], field[1]); err != nil {
			return err
		}
	}
	part, err := to.CreateFormFile("file", filepath.Base(name))
	if err != nil {
		return err
	}
	if _, err := io.Copy(part, file); err != nil {
		return err
	}
	return to.Close()
}

// ask sends one form. Ending ctx ends the request, and the gateway then ends it at the provider.
func ask(ctx context.Context, task, name string) (*http.Response, error) {
	reader, writer := io.Pipe()
	body := multipart.NewWriter(writer)
	go func() { writer.CloseWithError(form(body, task, name)) }()
	request, err := http.NewRequestWithContext(ctx, "POST", os.Getenv("OPENAI_BASE_URL")+paths[task], reader)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("OPENAI_API_KEY"))
	request.Header.Set("Content-Type", body.FormDataContentType())
	request.Header.Set("Expect", "100-continue") // a refused caller sends no file
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, refused(answer)
	}
	return answer, nil
}

// event is one of a stream. An error that comes when the answer has begun is an event too.
type event struct {
	Type  string
	Delta string
	Error *Refused
}

// show prints the transcript as it comes. Only `done` says that it is whole.
func show(answer *http.Response) error {
	lines := bufio.NewReader(answer.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return fmt.Errorf("the stream was cut; what came of it is not the whole transcript: %w", err)
		}
		var next event
		if !strings.HasPrefix(line, "data: ") || json.Unmarshal([]byte(line[len("data: "):]), &next) != nil {
			continue
		}
		switch {
		case next.Error != nil:
			next.Error.Status, next.Error.RequestID = answer.StatusCode, answer.Header.Get("x-request-id")
			return next.Error
		case next.Type == "transcript.text.delta":
			fmt.Print(next.Delta)
		case next.Type == "transcript.text.done":
			fmt.Println()
			return nil
		}
	}
}

func run(ctx context.Context, task, name string) error {
	answer, err := ask(ctx, task, name)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if task == "stream" {
		return show(answer)
	}
	var transcript struct{ Text string }
	if err := json.NewDecoder(answer.Body).Decode(&transcript); err != nil {
		return err
	}
	fmt.Println(transcript.Text)
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	err := run(ctx, os.Args[1], os.Args[2])
	var told *Refused
	if errors.As(err, &told) && told.Retry {
		fmt.Fprintln(os.Stderr, "a repeat may help")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

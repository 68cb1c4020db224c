// Speech to text through the gateway with the standard library: go run transcribe.go transcribe|stream|translate FILE
//
// Set OPENAI_BASE_URL to the gateway's address with /v1, and OPENAI_API_KEY to a key of the gateway.
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

// APIError is an error response of the gateway. RequestID identifies the request in its log and ledger.
type APIError struct {
	Status    int
	RequestID string
	Retry     bool
	Code      string `json:"code"`
	Message   string `json:"message"`
}

func (e *APIError) Error() string {
	return fmt.Sprintf("%d %s (%s): %s", e.Status, e.Code, e.RequestID, e.Message)
}

// parseError reads an error response. A retry can help after 408, 429 and 5xx, unless x-should-retry is false: the first
// attempt may have been billed.
func parseError(response *http.Response) error {
	apiError := &APIError{Status: response.StatusCode, RequestID: response.Header.Get("x-request-id")}
	transient := apiError.Status == 408 || apiError.Status == 429 || apiError.Status >= 500
	apiError.Retry = transient && response.Header.Get("x-should-retry") != "false"
	if err := json.NewDecoder(response.Body).Decode(&struct{ Error *APIError }{apiError}); err != nil {
		return fmt.Errorf("%s, not from the gateway: %w", response.Status, err)
	}
	return apiError
}

// writeForm writes the fields, then the file. It reads the file while it sends it, so a large file needs no memory.
func writeForm(to *multipart.Writer, task, name string) error {
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

// send sends one form. Canceling ctx ends the request.
func send(ctx context.Context, task, name string) (*http.Response, error) {
	reader, writer := io.Pipe()
	body := multipart.NewWriter(writer)
	go func() { writer.CloseWithError(writeForm(body, task, name)) }()
	request, err := http.NewRequestWithContext(ctx, "POST", os.Getenv("OPENAI_BASE_URL")+paths[task], reader)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("OPENAI_API_KEY"))
	request.Header.Set("Content-Type", body.FormDataContentType())
	request.Header.Set("Expect", "100-continue") // wait for an early error before sending the file
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, parseError(response)
	}
	return response, nil
}

// event is an event of a stream. An error after the response has begun is an event too.
type event struct {
	Type  string
	Delta string
	Error *APIError
}

// printStream prints the transcript as it arrives. Only `done` means that it is complete.
func printStream(response *http.Response) error {
	lines := bufio.NewReader(response.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return fmt.Errorf("the stream was cut; the transcript is incomplete: %w", err)
		}
		var next event
		if !strings.HasPrefix(line, "data: ") || json.Unmarshal([]byte(line[len("data: "):]), &next) != nil {
			continue
		}
		switch {
		case next.Error != nil:
			next.Error.Status, next.Error.RequestID = response.StatusCode, response.Header.Get("x-request-id")
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
	response, err := send(ctx, task, name)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if task == "stream" {
		return printStream(response)
	}
	var transcript struct{ Text string }
	if err := json.NewDecoder(response.Body).Decode(&transcript); err != nil {
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
	var apiError *APIError
	if errors.As(err, &apiError) && apiError.Retry {
		fmt.Fprintln(os.Stderr, "a retry may help")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Command commitfetch fetches the newest commits of the repository that a push of GitHub went to. It answers one call and
// ends, as the classic funker library does; Swarm then starts the next one.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

func main() {
	l, err := net.Listen("tcp", ":9999")
	if err != nil {
		log.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		log.Fatal(err)
	}
	l.Close() // the next caller is refused, and goes to another task
	defer conn.Close()
	reply, err := answer(conn)
	if err != nil {
		reply = failure(err, true)
	}
	if err := json.NewEncoder(conn).Encode(reply); err != nil {
		log.Print(err) // the caller has gone
	}
}

type commit struct {
	ID      string `json:"id"`
	Subject string `json:"subject"`
}

func answer(conn io.Reader) (any, error) {
	request, err := io.ReadAll(conn) // until the caller has closed its half
	if err != nil {
		return nil, err
	}
	var push struct {
		After      string
		Repository struct {
			FullName string `json:"full_name"`
		}
	}
	if err := json.Unmarshal(request, &push); err != nil || push.Repository.FullName == "" {
		return failure(fmt.Errorf("this is no push: %v", err), false), nil
	}
	list, err := fetch(push.Repository.FullName, push.After)
	if err != nil {
		return nil, err
	}
	return map[string]any{"repository": push.Repository.FullName, "commits": list}, nil
}

// fetch reads a page of commits, newest first.
func fetch(repository, head string) ([]commit, error) {
	api := os.Getenv("URL")
	if api == "" {
		api = "https://api.github.com"
	}
	client := http.Client{Timeout: 10 * time.Second}
	page, err := client.Get(api + "/repos/" + repository + "/commits?sha=" + url.QueryEscape(head))
	if err != nil {
		return nil, err
	}
	defer page.Body.Close()
	if page.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("commits of %s: %s", repository, page.Status)
	}
	var found []struct {
		SHA    string
		Commit struct{ Message string }
	}
	if err := json.NewDecoder(page.Body).Decode(&found); err != nil {
		return nil, fmt.Errorf("commits of %s: %w", repository, err)
	}
	list := make([]commit, 0, len(found))
	for _, c := range found {
		subject, _, _ := strings.Cut(c.Commit.Message, "\n")
		list = append(list, commit{c.SHA[:min(7, len(c.SHA))], subject})
	}
	return list, nil
}

func failure(err error, retry bool) any {
	return map[string]any{"funkerError": map[string]any{"message": err.Error(), "retry": retry}}
}

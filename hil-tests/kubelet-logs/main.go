// What the kubelet itself shows of a log: k8s.io/cri-client/pkg/logs, as pkg/kubelet/kuberuntime/kuberuntime_logs.go calls it.
//
// It reads a JSON list of cases from stdin and writes what `kubectl logs` would show, base64, one line each. `make.py` beside it draws the
// cases and keeps the answers in gateway/tests/golden/kubelet_logs.json.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"k8s.io/cri-client/pkg/logs"
)

type testCase struct {
	Path         string
	TailLines    *int64
	SinceSeconds *int64
	SinceTime    *int64 // Unix nanoseconds
	LimitBytes   *int64
	Timestamps   bool
	Now          int64 // Unix nanoseconds
}

func main() {
	var cases []testCase
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	for _, c := range cases {
		var since time.Time
		if c.SinceSeconds != nil {
			since = time.Unix(0, c.Now).Add(-time.Duration(*c.SinceSeconds) * time.Second)
		}
		if c.SinceTime != nil && since.Before(time.Unix(0, *c.SinceTime)) {
			since = time.Unix(0, *c.SinceTime)
		}
		options := &logs.LogOptions{TailLines: c.TailLines, LimitBytes: c.LimitBytes, Timestamp: c.Timestamps, Since: since}
		var shown bytes.Buffer
		if err := logs.ReadLogs(context.Background(), c.Path, "", options, nil, &shown, &shown); err != nil {
			panic(err)
		}
		fmt.Println(base64.StdEncoding.EncodeToString(shown.Bytes()))
	}
}

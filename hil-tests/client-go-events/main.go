// What client-go makes of a series of events: record.EventCorrelator, as its broadcaster calls it.
//
// It reads a JSON list of cases from stdin and writes for each event, a case a line, null when it is held back, else [name, count, message].
// `make_events.py` beside it draws the cases and keeps the answers in gateway/tests/golden/client_go_events.json.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	testclock "k8s.io/utils/clock/testing"
)

type happened struct {
	At                                            float64 // Unix seconds
	Namespace, Name, Uid, Path, Kind, Reason, Message string
}

func main() {
	var cases [][]happened
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	for _, events := range cases {
		clock := testclock.NewFakePassiveClock(time.Unix(0, 0))
		correlator := record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{Clock: clock})
		answers := []any{}
		for number, e := range events {
			now := time.Unix(0, int64(e.At*1e9))
			clock.SetTime(now)
			involved := v1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: e.Namespace, Name: e.Name, UID: types.UID(e.Uid), FieldPath: e.Path}
			result, err := correlator.EventCorrelate(&v1.Event{
				ObjectMeta:     metav1.ObjectMeta{Name: fmt.Sprintf("%s.%d", e.Name, number), Namespace: e.Namespace},
				InvolvedObject: involved,
				Type:           e.Kind,
				Reason:         e.Reason,
				Message:        e.Message,
				Source:         v1.EventSource{Component: "kubelet", Host: "pi"},
				FirstTimestamp: metav1.NewTime(now),
				LastTimestamp:  metav1.NewTime(now),
				Count:          1,
			})
			if err != nil {
				panic(err)
			}
			if result.Skip {
				answers = append(answers, nil)
				continue
			}
			correlator.UpdateState(result.Event)
			answers = append(answers, []any{result.Event.Name, result.Event.Count, result.Event.Message})
		}
		line, err := json.Marshal(answers)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(line))
	}
}

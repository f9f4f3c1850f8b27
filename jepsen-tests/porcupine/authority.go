package main

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// A question splits the history: each part has its checks, and every command that bears on them.
type question struct{ agent, action, resource string }

// What a grant is, in the state of a part: one byte a grant. A grant not seen is absent.
const (
	absent = 'a'
	active = 'g'
	void   = 'v'
)

// The state of a part is a string, so that it can be compared: whether the agent is registered, then each grant.
const (
	unregistered = 'u'
	registered   = 'r'
)

type part struct {
	question question
	// Grants by id, with the parents that their commands name.
	numbers map[string]int
	parents []int // -1 for a root
	subject []string
	// Which of them would allow the question by themselves.
	allowing []bool
	history  []porcupine.Operation
}

func judge(history []Operation, timeout time.Duration) Verdict {
	deadline := time.Now().Add(timeout)
	examined, undecided := 0, []string{}
	for _, part := range split(history) {
		examined += len(part.history)
		left := time.Until(deadline)
		if left <= 0 {
			left = time.Millisecond // 0 would mean without end
		}
		switch porcupine.CheckOperationsTimeout(part.model(), part.history, left) {
		case porcupine.Illegal:
			return Verdict{"violation", examined, fmt.Sprintf("no order explains what clients saw of %v", part.question)}
		case porcupine.Unknown:
			undecided = append(undecided, fmt.Sprint(part.question))
		}
	}
	if len(undecided) > 0 {
		return Verdict{"inconclusive", examined, "not decided in time: " + strings.Join(undecided, ", ")}
	}
	return Verdict{"valid", examined, ""}
}

func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return len(name) > len(prefix) && strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

func split(history []Operation) []*part {
	grants := map[string]*About{}
	parts := map[question]*part{}
	for i := range history {
		call := &history[i].Call
		switch {
		case call.Grant != nil:
			grants[call.Grant.Grant] = call.Grant
		case call.Delegate != nil:
			grants[call.Delegate.Grant] = call.Delegate
		case call.Check != nil:
			asked := question{call.Check.Agent, call.Check.Action, call.Check.Resource}
			parts[asked] = &part{question: asked, numbers: map[string]int{}}
		}
	}
	// In a fixed order, so that the same history is judged the same way.
	ids := make([]string, 0, len(grants))
	for id := range grants {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	sorted := make([]*part, 0, len(parts))
	for _, part := range parts {
		for _, id := range ids {
			grant := grants[id]
			if grant.Agent == part.question.agent && part.allows(grant) {
				part.add(grants, id)
			}
		}
		sorted = append(sorted, part)
	}
	sort.Slice(sorted, func(i, j int) bool { return fmt.Sprint(sorted[i].question) < fmt.Sprint(sorted[j].question) })
	for i := range history {
		for _, part := range sorted {
			part.take(&history[i])
		}
	}
	return sorted
}

func (p *part) allows(grant *About) bool {
	return matches(grant.Action, p.question.action) && matches(grant.Resource, p.question.resource)
}

// add numbers a grant and its ancestors.
func (p *part) add(grants map[string]*About, id string) int {
	if number, ok := p.numbers[id]; ok {
		return number
	}
	number := len(p.parents)
	p.numbers[id] = number
	p.parents = append(p.parents, -1)
	grant := grants[id]
	if grant == nil { // named as a parent, and given by nobody
		p.subject = append(p.subject, "")
		p.allowing = append(p.allowing, false)
		return number
	}
	p.subject = append(p.subject, grant.Agent)
	p.allowing = append(p.allowing, grant.Agent == p.question.agent && p.allows(grant))
	if grant.Parent != "" {
		p.parents[number] = p.add(grants, grant.Parent)
	}
	return number
}

// take keeps the operation if it bears on the question.
func (p *part) take(operation *Operation) {
	call, outcome := &operation.Call, &operation.Outcome
	if outcome.Refused != nil || outcome.NotDone != nil {
		return
	}
	bears := false
	switch {
	case call.Register != nil:
		bears = call.Register.Agent == p.question.agent
	case call.Grant != nil:
		_, bears = p.numbers[call.Grant.Grant]
	case call.Delegate != nil:
		_, bears = p.numbers[call.Delegate.Grant]
	case call.RevokeGrant != nil:
		_, bears = p.numbers[call.RevokeGrant.Grant]
	case call.RevokeAgent != nil:
		for _, subject := range p.subject {
			bears = bears || subject == call.RevokeAgent.Agent
		}
	case call.Check != nil:
		asked := question{call.Check.Agent, call.Check.Action, call.Check.Resource}
		halted := outcome.Denied != nil && outcome.Denied.Halt != nil
		bears = asked == p.question && outcome.Unknown == nil && !halted
	}
	if !bears {
		return
	}
	// Open for ever: it may take effect at any time, and after everything else it is as if it never had.
	end := int64(math.MaxInt64)
	if operation.ReturnedUs != nil && outcome.Unknown == nil {
		end = *operation.ReturnedUs
	}
	p.history = append(p.history, porcupine.Operation{Input: operation, Call: operation.InvokedUs, Return: end})
}

func (p *part) model() porcupine.Model {
	return porcupine.Model{
		Init: func() interface{} { return string(unregistered) + strings.Repeat(string(absent), len(p.parents)) },
		Step: func(state, input, _ interface{}) (bool, interface{}) {
			return p.step(state.(string), input.(*Operation))
		},
	}
}

func (p *part) step(state string, operation *Operation) (bool, string) {
	call, outcome := &operation.Call, &operation.Outcome
	switch {
	case call.Register != nil:
		return true, string(registered) + state[1:]
	case call.Grant != nil:
		return true, p.granted(state, call.Grant.Grant)
	case call.Delegate != nil:
		parent := p.parents[p.numbers[call.Delegate.Grant]]
		if !p.inForce(state, parent) {
			return outcome.Unknown != nil, state
		}
		return true, p.granted(state, call.Delegate.Grant)
	case call.RevokeGrant != nil:
		return true, set(state, p.numbers[call.RevokeGrant.Grant], void)
	case call.RevokeAgent != nil:
		for number, subject := range p.subject {
			if subject == call.RevokeAgent.Agent && state[1+number] == active {
				state = set(state, number, void)
			}
		}
		return true, state
	}
	permitted := false
	for number, allows := range p.allowing {
		permitted = permitted || allows && p.inForce(state, number)
	}
	known := state[0] == registered
	if outcome.Permitted != nil {
		return known && permitted, state
	}
	return !permitted && known == (outcome.Denied.Reason != "unknown_agent"), state
}

func (p *part) granted(state, id string) string {
	if number := p.numbers[id]; state[1+number] == absent {
		return set(state, number, active)
	}
	return state
}

// inForce says whether the grant and all its ancestors are active.
func (p *part) inForce(state string, number int) bool {
	for range p.parents {
		if number < 0 {
			return true
		}
		if state[1+number] != active {
			return false
		}
		number = p.parents[number]
	}
	return number < 0
}

func set(state string, number int, status byte) string {
	bytes := []byte(state)
	bytes[1+number] = status
	return string(bytes)
}

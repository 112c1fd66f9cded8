package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ecrin": func() { os.Exit(cli.Main(context.Background())) },
	})
}

// TestScripts runs the scripts in testdata/script, each in a directory of its own. The scripts have these commands
// besides those of testscript:
//
//	serve ARGS…      start ecrin serve with ARGS and --listen 127.0.0.1:0, and wait until it is ready
//	shutdown         send SIGTERM to that server and wait; it must exit with code 0
//	exits CODE …     run ecrin, which must exit with that code
//	userkey NAME     create a user with an access key in the default account; $USERKEY is the key
//	rootkey          set $KEY to the root key of the default account
//	login            get a docker token; $TOKEN is then the id of the latest
//	accessid [open]  set $ID to the newest request for access to the default registry, or the newest open one
//	delete REPO DIG  delete an image by the ECR API
//	ask ACCOUNT REPO describe the images of a repository of the default registry as an account's root; $ID is the request's
//	pulls STATUS FILE REPOSITORY TAG  pull an image with the password in FILE, which must end with STATUS
//	cure             execute the commands after "what to do: " of the last output, as a shell does
//	absent FILE      the last output must not have the text in FILE
//	push REF SEED    push an image named by SEED to REPOSITORY[:TAG] of the server of $ECRIN_DATA
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("ECRIN_DATA", filepath.Join(e.WorkDir, "data"))
			e.Values[slotKey{}] = &slot{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":    scriptServe,
			"shutdown": scriptShutdown,
			"exits":    scriptExits,
			"push":     scriptPush,
			"rootkey":  scriptRootKey,
			"userkey":  scriptUserKey,
			"login":    scriptLogin,
			"accessid": scriptAccessID,
			"delete":   scriptDelete,
			"ask":      scriptAsk,
			"pulls":    scriptPulls,
			"absent":   scriptAbsent,
			"cure":     scriptCure,
		},
	})
}

// process is a server that a script has started.
type process struct {
	cmd    *exec.Cmd
	greets string // the output of printReady
}

// startServer starts program as ecrin and reads its output until the empty line after printReady.
func startServer(program, dir string, environ []string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)}
	p.cmd.Dir, p.cmd.Env = dir, environ
	log, err := os.Create(filepath.Join(dir, "serve.err"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p.greets += lines.Text() + "\n"
		if strings.Contains(lines.Text(), "docker login") {
			return p, nil
		}
	}
	err = p.cmd.Wait()
	text, _ := os.ReadFile(log.Name())
	return nil, fmt.Errorf("the server did not start: %w\n%s%s", err, p.greets, text)
}

// end terminates the server and returns its exit error.
func (p *process) end() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// slot holds the running server of one script.
type slot struct{ running *process }

type slotKey struct{}

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	place := ts.Value(slotKey{}).(*slot)
	program, err := exec.LookPath("ecrin")
	ts.Check(err)
	var environ []string
	for _, key := range []string{"HOME", "PATH", "ECRIN_DATA", "ECRIN_CONFIG", "ECRIN_REGION", "ECRIN_MASTER_KEY"} {
		if v := ts.Getenv(key); v != "" {
			environ = append(environ, key+"="+v)
		}
	}
	p, err := startServer(program, ts.Getenv("WORK"), environ, args...)
	if neg || place.running != nil {
		ts.Fatalf("serve starts one server and cannot be negated")
	}
	ts.Check(err)
	place.running = p
	ts.Check(os.WriteFile(ts.MkAbs("serve.out"), []byte(p.greets), 0o644))
	ts.Defer(func() {
		if place.running == p {
			_ = p.cmd.Process.Kill() // the script has failed: the exit error does not matter
			_ = p.cmd.Wait()
		}
	})
}

func scriptShutdown(ts *testscript.TestScript, neg bool, args []string) {
	place := ts.Value(slotKey{}).(*slot)
	if place.running == nil || neg || len(args) > 0 {
		ts.Fatalf("usage: shutdown, while a server runs")
	}
	p := place.running
	place.running = nil
	ts.Check(p.end())
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("ecrin", args[1:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("running ecrin: %v", err)
	}
	if got != want {
		ts.Fatalf("ecrin %s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// scriptCure executes what the last output says to do.
func scriptCure(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: cure")
	}
	_, cure, ok := strings.Cut(ts.ReadFile("stdout"), "what to do: ")
	if !ok {
		ts.Fatalf("the last output says of nothing what to do")
	}
	ts.Check(ts.Exec("sh", "-ec", cure))
}

// scriptPush creates the repository if it does not exist, and pushes by the ECR API.
func scriptPush(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: push REPOSITORY[:TAG] SEED")
	}
	repo, tag, _ := strings.Cut(args[0], ":")
	digest, err := push(context.Background(), ts.Getenv("ECRIN_DATA"), repo, tag, args[1])
	ts.Check(err)
	ts.Setenv("DIGEST", digest)
}

func scriptRootKey(ts *testscript.TestScript, neg bool, args []string) {
	s, err := client.Open(ts.Getenv("ECRIN_DATA"), "")
	ts.Check(err)
	var out ecrintypes.GetAccountCredentialsResponse
	ts.Check(s.Call(context.Background(), "GetAccountCredentials", &ecrintypes.GetAccountCredentialsRequest{}, &out))
	ts.Setenv("KEY", out.AccessKey.AccessKeyId)
}

func scriptUserKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: userkey NAME")
	}
	id, err := userKey(context.Background(), ts.Getenv("ECRIN_DATA"), args[0])
	ts.Check(err)
	ts.Setenv("USERKEY", id)
}

func scriptAccessID(ts *testscript.TestScript, neg bool, args []string) {
	s, err := client.Open(ts.Getenv("ECRIN_DATA"), "")
	ts.Check(err)
	var out ecrintypes.ListAccessRequestsResponse
	in := &ecrintypes.ListAccessRequestsRequest{}
	if len(args) > 0 {
		in.Status = ecrintypes.AccessStatusOPEN
	}
	ts.Check(s.Call(context.Background(), "ListAccessRequests", in, &out))
	if len(out.Requests) == 0 {
		ts.Fatalf("there is no request for access")
	}
	ts.Setenv("ID", out.Requests[0].AccessRequestId)
}

func scriptLogin(ts *testscript.TestScript, neg bool, args []string) {
	c, err := api(context.Background(), ts.Getenv("ECRIN_DATA"))
	ts.Check(err)
	_, err = c.GetAuthorizationToken(context.Background(), &ecr.GetAuthorizationTokenInput{})
	ts.Check(err)
	s, err := client.Open(ts.Getenv("ECRIN_DATA"), "")
	ts.Check(err)
	var out ecrintypes.ListTokensResponse
	ts.Check(s.Call(context.Background(), "ListTokens", &ecrintypes.ListTokensRequest{}, &out))
	ts.Setenv("TOKEN", out.Tokens[len(out.Tokens)-1].TokenId)
}

func scriptPulls(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: pulls STATUS FILE REPOSITORY TAG")
	}
	c, err := client.Open(ts.Getenv("ECRIN_DATA"), "")
	ts.Check(err)
	password := strings.TrimSpace(ts.ReadFile(args[1]))
	get := func(what string) (int, []byte) {
		req, err := http.NewRequest(http.MethodGet, c.Server.URL+"/v2/"+args[2]+"/"+what, nil)
		ts.Check(err)
		req.SetBasicAuth("LICENSE_ID", password)
		answer, err := http.DefaultClient.Do(req)
		ts.Check(err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		ts.Check(err)
		return answer.StatusCode, body
	}
	status, body := get("manifests/" + args[3])
	if fmt.Sprint(status) != args[0] {
		ts.Fatalf("the manifest of %s:%s: got %d %s, want %s", args[2], args[3], status, body, args[0])
	}
	var m struct{ Config struct{ Digest string } }
	if status == http.StatusOK {
		ts.Check(json.Unmarshal(body, &m))
		if status, body := get("blobs/" + m.Config.Digest); status != http.StatusOK {
			ts.Fatalf("the config of %s:%s: got %d %s", args[2], args[3], status, body)
		}
	}
}

func scriptAbsent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: absent FILE")
	}
	if text := strings.TrimSpace(ts.ReadFile(args[0])); text == "" || strings.Contains(ts.ReadFile("stdout"), text) {
		ts.Fatalf("the output has the text of %s", args[0])
	}
}

func scriptDelete(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: delete REPOSITORY DIGEST")
	}
	ts.Check(deleteImage(context.Background(), ts.Getenv("ECRIN_DATA"), args[0], args[1]))
}

func scriptAsk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ask ACCOUNT REPOSITORY")
	}
	id, err := ask(context.Background(), ts.Getenv("ECRIN_DATA"), args[0], args[1])
	ts.Check(err)
	ts.Setenv("ID", id)
}
